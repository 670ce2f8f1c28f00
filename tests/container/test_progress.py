"""The start-up lines: elapsed seconds, signs of life, and a curl line that fits the model."""

import json
import os
import shlex
from pathlib import Path

import pytest

from container.console import Console
from container.progress import Progress, first_request


def said(descriptor: int, console: Console) -> list[str]:
    console.close()
    return os.pread(descriptor, 10_000, 0).decode().splitlines()


def test_steps_carry_the_elapsed_time_and_slow_ones_a_sign_of_life(tmp_path: Path) -> None:
    file = os.open(tmp_path / "said", os.O_RDWR | os.O_CREAT)
    console = Console(descriptor=file)
    times = iter([0.0, 1.0, 1.0, 10.0, 17.0, 17.0, 17.0, 20.0])
    progress = Progress(console, lambda: next(times, 20.0))
    progress.step("engine: importing")
    for _ in range(3):
        progress.tick()
    lines = said(file, console)
    assert lines[0].endswith("s] engine: importing")
    assert len(lines) == 2
    assert "still going on" in lines[1]


@pytest.mark.parametrize(
    ("task", "chat", "key"), [("generate", True, "messages"), ("generate", False, "prompt"), ("embed", False, "input")]
)
def test_the_line_to_paste_fits_the_model(task: str, chat: bool, key: str) -> None:
    words = shlex.split(first_request(9123, task, chat))
    assert words[1] == "http://127.0.0.1:9123/invocations"
    assert key in json.loads(words[words.index("-d") + 1])
