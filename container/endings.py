"""Says how a child ended; of SIGKILL also whether memory was short, for the kernel counts whom it ends for that."""

import signal
from pathlib import Path

from autoconfig.host_memory import memory_kills


class Endings:
    """Remembers the kernel's count from one killed child to the next."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._kills = memory_kills(root)

    def of(self, code: int) -> str:
        """Return what killed a child whose exit code is `code`, as subprocess counts it; empty: it ended by itself."""
        if code >= 0:
            return ""
        if code != -signal.SIGKILL:
            return f"killed by {signal.Signals(-code).name}"
        before, self._kills = self._kills, memory_kills(self._root)
        if before is None or self._kills is None:
            return "killed by SIGKILL: by the kernel for lack of memory, or by hand"
        if self._kills > before:
            return f"killed by SIGKILL: memory ran out, for which the kernel has ended {self._kills - before} here"
        return "killed by SIGKILL: by hand or by the platform, as the kernel has ended nothing here for lack of memory"
