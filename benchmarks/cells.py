"""The cells of the comparison (one client, one kind of answer, so many at once) and what each of them sends."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.load import Body
from benchmarks.tiny_model import WORDS


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the table."""

    client: Literal["own", "vllm bench"]
    stream: bool
    concurrency: int

    def __str__(self) -> str:
        """Name the cell in a line of progress."""
        return f"{self.client} client, {'stream' if self.stream else 'whole'}, {self.concurrency} at once"


@dataclass(frozen=True, slots=True)
class Workload:
    """What every cell sends."""

    model: Path
    prompt_tokens: int
    output_tokens: int

    def requests(self, cell: Cell) -> int:
        """Return how many requests a cell sends in one turn; vLLM's client has only one."""
        return 24 + 4 * cell.concurrency if cell.client == "own" else 100 + 5 * cell.concurrency


def table(concurrencies: list[int]) -> tuple[list[Cell], list[Cell]]:
    """List the cells of our client and of vLLM's, which knows only streams."""
    own = [Cell("own", stream, concurrency) for stream in (True, False) for concurrency in concurrencies]
    return own, [Cell("vllm bench", True, concurrency) for concurrency in concurrencies]


def bodies(cell: Cell, work: Workload, count: int, seed: str) -> list[Body]:
    """Make prompts that share no prefix, so that no request is answered from another's cache."""
    words = random.Random(f"{cell} {seed}")
    return [
        {
            "model": "bench",
            "messages": [{"role": "user", "content": " ".join(words.choices(WORDS, k=work.prompt_tokens))}],
            "max_tokens": work.output_tokens,
            "ignore_eos": True,
            "temperature": 0,
        }
        | ({"stream": True, "stream_options": {"include_usage": True}} if cell.stream else {})
        for _ in range(count)
    ]
