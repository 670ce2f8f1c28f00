"""Says how a child ended; of SIGKILL also whether memory was short, for the kernel counts whom it ends for that."""

import signal
from dataclasses import dataclass
from pathlib import Path

from autoconfig.host_memory import memory_kills
from container.errors import Exit
from container.logs import WorkerOutput, is_generic, shortened
from container.status import Event


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: the exit status of this process, and the line that explains it."""

    code: Exit
    reason: str


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

    def of_grandchild(self) -> str:
        """Return what is known of the end of a process that another one has buried."""
        before, self._kills = self._kills, memory_kills(self._root)
        if before is not None and self._kills is not None and self._kills > before:
            return "memory ran out, for which the kernel has ended its process"
        return "the engine process died"

    def described(self, code: int) -> str:
        """Return how a child ended of which nothing else is known."""
        return self.of(code) or f"exit status {code}, without a reason in its log"

    def outcome(self, name: str, code: int, failure: Event | None, output: WorkerOutput, *, starting: bool) -> Outcome:
        """Say what a child's end means for the run: what it told itself, what its log says, or how it ended."""
        told = failure.get("cause") if failure else None
        cause = shortened(told) if told and not is_generic(told) else output.cause() or told or self.described(code)
        code = failure.get("code", code) if failure else code
        if code == Exit.CONFIGURATION and told:  # then it is not the child that is at fault
            return Outcome(Exit.CONFIGURATION, f"{cause} (log: {output.log_file})")
        kind = Exit.CONFIGURATION if code == Exit.CONFIGURATION else Exit.ENGINE
        when = "failed to start" if starting else "ended while serving"
        return Outcome(kind, f"the {name} {when}: {cause} (its log: {output.log_file})")
