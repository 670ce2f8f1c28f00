"""Supervises one Python script as `serve` would, with a companion where there is one, and prints the outcome."""

import os
import sys
from pathlib import Path

from container.children import Child
from container.console import Console
from container.logs import WorkerOutput
from container.progress import Progress
from container.supervise import Limits, Supervisor

script, directory, start_seconds, stop_seconds = sys.argv[1:]
console = Console()
progress = Progress(console)
output = WorkerOutput(console, Path(directory) / "engine.log")
supervisor = Supervisor(
    Limits(float(start_seconds), float(stop_seconds)), output, progress, lambda _event: console.say("READY")
)
children = [Child("engine", (sys.executable, script), os.environ)]
if (companion := Path(directory) / "companion.py").exists():
    children.insert(0, Child("cache", (sys.executable, str(companion)), os.environ, companion=True))
outcome = supervisor.run(tuple(children))
console.say(outcome.reason)
console.close()
sys.exit(outcome.code)
