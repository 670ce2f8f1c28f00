"""A request as DJL's custom handlers see it: properties (headers and options) and content (the body)."""

import csv
import io
import json
from typing import Any

from .pair_list import PairList


class Input:
    """One request; without content it is the call that DJL makes while the model loads."""

    def __init__(self) -> None:
        self.function_name: str | None = None
        self.properties: dict[str, str] = {}
        self.content = PairList()

    def is_batch(self) -> bool:
        """Tell whether it holds several requests: never here."""
        return False

    def get_batch_size(self) -> int:
        """Return how many requests it holds."""
        return 1

    def get_batches(self) -> list["Input"]:
        """Return the requests it holds: itself."""
        return [self]

    def get_function_name(self) -> str | None:
        """Return the name of the function that is called with it."""
        return self.function_name

    def get_properties(self) -> dict[str, str]:
        """Return all properties."""
        return self.properties

    def get_property(self, key: str) -> str | None:
        """Return a property, whatever the case of its name."""
        return next((value for name, value in self.properties.items() if name.lower() == key.lower()), None)

    def get_content(self) -> PairList:
        """Return the content."""
        return self.content

    def contains_key(self, key: str) -> bool:
        """Tell whether there is content under a key."""
        return self.content.get(key) is not None

    def is_empty(self) -> bool:
        """Tell whether there is no content."""
        return self.content.is_empty()

    def get_data(self, key: str | None = None) -> Any:
        """Return the content as its content type says."""
        content_type = self.get_property("content-type") or ""
        if content_type.startswith("application/json"):
            return self.get_as_json(key)
        if content_type.startswith("text/"):
            return self.get_as_string(key)
        if content_type.startswith("image/"):
            return self.get_as_image(key)
        if content_type == "tensor/npz":
            return self.get_as_npz(key)
        return self.get_as_bytes(key)

    def get_as_bytes(self, key: str | None = None) -> Any:
        """Return the content under a key; without a key the body. None where there is no content at all."""
        if self.content.is_empty():
            return None
        if key:
            found = self.content.get(key)
            if found is None:
                raise KeyError(f"requested data for key:{key} is not found!")
            return found
        body = self.content.get("data")
        return self.content.value_at(0) if body is None else body

    def get_as_string(self, key: str | None = None) -> str:
        """Return it as text."""
        return bytes(self.get_as_bytes(key)).decode()

    def get_as_json(self, key: str | None = None) -> Any:
        """Return it parsed from JSON."""
        return json.loads(self.get_as_bytes(key))

    def get_as_csv(self, key: str | None = None) -> list[dict[str, str]]:
        """Return the rows of a CSV, by the names its first line gives."""
        return list(csv.DictReader(io.StringIO(self.get_as_string(key))))

    def get_as_image(self, key: str | None = None) -> Any:
        """Return a Pillow image."""
        from PIL import Image

        return Image.open(io.BytesIO(self.get_as_bytes(key)))

    def get_as_npz(self, key: str | None = None) -> list[Any]:
        """Return the arrays of a NumPy archive."""
        import numpy as np

        archive = np.load(io.BytesIO(self.get_as_bytes(key)))
        return [archive[name] for name in archive.files]
