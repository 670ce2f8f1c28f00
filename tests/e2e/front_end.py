"""Which checks DJL Serving cannot pass, and why; `LMI_TEST_FRONTEND=djl` expects these, and only these, to fail."""

import os
from collections.abc import Mapping

FRONT_END = os.environ.get("LMI_TEST_FRONTEND", "direct")
"""What answers in the tests; `djl` needs DJL Serving, which LMI_DJL_SERVING names."""
DJL = FRONT_END == "djl"
NO_METRICS = "it looks at /metrics, which DJL Serving does not route"
CANNOT: Mapping[str, str] = {}
"""A file's name, or file::test, and the reason."""


def reason(file: str, test: str) -> str:
    """Return why a test cannot pass behind DJL Serving, empty where it can."""
    return CANNOT.get(f"{file}::{test}") or CANNOT.get(file, "")
