"""Real processes for the tests of what starts, stops and buries them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.mounts import small_disk
from tests.container.processes import COMPANION, ROOT, WORKER, Supervise, Supervised

__all__ = ["small_disk"]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    """Start a supervisor over the given lines of a worker."""
    started: list[Supervised] = []

    def start(
        worker: str,
        start_seconds: float = 20,
        stop_seconds: float = 10,
        prefix: tuple[str, ...] = (),
        companion: str = "",
        port: int = 0,
    ) -> Supervised:
        script = tmp_path / "worker.py"
        script.write_text(WORKER + worker)
        if companion:
            (tmp_path / "companion.py").write_text(COMPANION + companion)
        driver = str(Path(__file__).with_name("supervised.py"))
        argv = [*prefix, sys.executable, driver, str(script), str(tmp_path), str(start_seconds), str(stop_seconds)]
        argv.append(str(port))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "DIRECTORY": str(tmp_path)}
        process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(Supervised(process, tmp_path))
        return started[-1]

    yield start
    for supervised in started:
        supervised.process.terminate()  # so that it ends its worker, which kill() would leave behind
        try:
            supervised.process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            supervised.process.kill()
            supervised.process.communicate()
