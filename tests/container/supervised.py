"""Supervises one Python script as `serve` would, and prints the outcome."""

import os
import sys
from pathlib import Path

from container.console import Console
from container.logs import WorkerOutput
from container.progress import Progress
from container.supervise import Child, Limits, Supervisor

script, directory, start_seconds, stop_seconds = sys.argv[1:]
console = Console()
progress = Progress(console)
output = WorkerOutput(console, Path(directory) / "engine.log")
supervisor = Supervisor(
    Limits(float(start_seconds), float(stop_seconds)), output, progress, lambda _event: console.say("READY")
)
outcome = supervisor.run((Child("engine", (sys.executable, script), os.environ),))
console.say(outcome.reason)
console.close()
sys.exit(outcome.code)
