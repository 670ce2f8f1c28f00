"""Which checks DJL Serving cannot pass, and why; `LMI_TEST_FRONTEND=djl` expects these, and only these, to fail."""

from collections.abc import Mapping

CANNOT: Mapping[str, str] = {}
"""A file's name, or file::test, and the reason."""


def reason(file: str, test: str) -> str:
    """Return why a test cannot pass behind DJL Serving, empty where it can."""
    return CANNOT.get(f"{file}::{test}") or CANNOT.get(file, "")
