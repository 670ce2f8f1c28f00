"""The ordered keys and values an Input or Output carries; a key may be None, and come twice."""

from typing import Any


class PairList:
    """Keys and values, in the order they were added."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        self.values: list[Any] = []

    def add(self, key: str | None = None, value: Any = None) -> None:
        """Add a value; None is ignored."""
        if value is not None:
            self.keys.append(key)
            self.values.append(value)

    def size(self) -> int:
        """Return how many values there are."""
        return len(self.keys)

    def is_empty(self) -> bool:
        """Tell whether there is none."""
        return not self.keys

    def get(self, key: str | None) -> Any:
        """Return the first value under a key, or None."""
        return self.values[self.keys.index(key)] if key in self.keys else None

    def key_at(self, index: int) -> str | None:
        """Return the key at a place."""
        return self.keys[index]

    def value_at(self, index: int) -> Any:
        """Return the value at a place."""
        return self.values[index]

    def get_keys(self) -> list[str | None]:
        """Return all keys."""
        return self.keys

    def get_values(self) -> list[Any]:
        """Return all values."""
        return self.values
