"""Says during start-up what is slow: one line per step with the elapsed seconds, a sign of life every 15 s."""

import json
import time
from collections.abc import Callable

from container.console import Console, Level

HEARTBEAT_SECONDS = 15.0


class Progress:
    """The clock of one start: `step` opens a step, `tick` may be called as often as one likes."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._began = self._step_began = self._last_line = clock()
        self.current = "starting"

    def elapsed(self) -> float:
        """Return the seconds since the start began."""
        return self._clock() - self._began

    def step(self, text: str) -> None:
        """Begin a step, and say so."""
        self.current = text
        self._step_began = self._clock()
        self._line(text)

    def tick(self, detail: str = "") -> None:
        """Say that the current step is still going on, unless something was said less than 15 s ago."""
        now = self._clock()
        if now - self._last_line >= HEARTBEAT_SECONDS:
            self._line(f"{self.current}: {detail or f'still going on, {now - self._step_began:.0f} s'}")

    def note(self, text: str) -> None:
        """Say something an operator should know, without leaving the step."""
        self._line(text)

    def warn(self, text: str) -> None:
        """Say something an operator should do something about, without leaving the step."""
        self._line(text, "warning")

    def _line(self, text: str, level: Level = "info") -> None:
        self._last_line = self._clock()
        self._console.say(f"[{self.elapsed():6.1f} s] {text}", level)


def first_request(port: int, task: str, chat: bool) -> str:
    """Return a curl line whose answer shows that the server works: what is asked depends on what the model does."""
    body: dict[str, object]
    if task != "generate":
        body = {"input": "The capital of France is Paris."}
    elif chat:
        question = "What is the capital of France?"
        body = {"messages": [{"role": "user", "content": question}], "max_tokens": 32, "temperature": 0}
    else:
        body = {"prompt": "The capital of France is", "max_tokens": 16, "temperature": 0}
    return (
        f"curl http://127.0.0.1:{port}/invocations -H 'Content-Type: application/json' "
        f"-d '{json.dumps(body, separators=(',', ':'))}'"
    )
