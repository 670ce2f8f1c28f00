"""Bodies into values and values into bodies, by their content type, as DJL's handlers do it."""

import csv
import io
from typing import Any

from .inputs import Input
from .outputs import Output


def decode(inputs: Input, content_type: str | None, key: str | None = None, require_csv_headers: bool = True) -> Any:
    """Return the body as its content type says; what is no JSON becomes `{"inputs": ...}`."""
    if not content_type:
        return inputs.get_as_json(key) if inputs.get_as_bytes(key) else {"inputs": ""}
    if "application/json" in content_type:
        return inputs.get_as_json(key)
    if "text/csv" in content_type:
        return _csv(inputs, key, require_csv_headers)
    if "text/plain" in content_type:
        return {"inputs": [inputs.get_as_string(key)]}
    if content_type == "application/x-www-form-urlencoded":
        return {"inputs": inputs.get_as_string(key)}
    if content_type.startswith("image/"):
        return {"inputs": inputs.get_as_image(key)}
    if "tensor/npz" in content_type:
        return {"inputs": inputs.get_as_npz(key)}
    return {"inputs": inputs.get_as_bytes(key)}


def encode(outputs: Output, prediction: Any, content_type: str | None, key: str | None = None) -> None:
    """Add a value to a reply, as CSV where that is asked for, else as JSON."""
    if content_type and "text/csv" in content_type:
        stream = io.StringIO()
        rows = list(prediction)
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
        outputs.add(stream.getvalue(), key).add_property("Content-Type", "text/csv")
    else:
        outputs.add_as_json(prediction, key).add_property("Content-Type", "application/json")


def _csv(inputs: Input, key: str | None, headers: bool) -> Any:
    if not headers:
        return [[float(cell) for cell in row] for row in csv.reader(io.StringIO(inputs.get_as_string(key))) if row]
    rows = inputs.get_as_csv(key)
    if not rows or not {"inputs", "question", "context"} & set(rows[0]):
        raise ValueError("A CSV needs a first line with one of: inputs, question, context.")
    return {"inputs": [row["inputs"] for row in rows] if "inputs" in rows[0] else rows}
