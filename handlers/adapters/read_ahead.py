"""An adapter's weights from storage into the page cache: the engine computes nothing while it reads them."""

import contextlib
from pathlib import Path

from autoconfig.lora.files import WEIGHTS

_PIECE_BYTES = 4 << 20


def read_ahead(directory: Path) -> None:
    """Read a file to its end, in a thread of the caller's; what is wrong with it the engine will say."""
    with contextlib.suppress(OSError), (directory / WEIGHTS).open("rb", buffering=0) as file:
        piece = bytearray(_PIECE_BYTES)
        while file.readinto(piece):
            pass
