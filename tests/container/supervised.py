"""Supervises one Python script as `serve` would, with a companion where there is one, and prints the outcome.

With a port the script is a worker that a stand-in for Java starts.
"""

import os
import sys
from pathlib import Path

from container.children import Child, Hosting
from container.console import Console
from container.logs import WorkerOutput
from container.progress import Progress
from container.supervise import Limits, Supervisor

script, directory, start_seconds, stop_seconds, port = sys.argv[1:]
console = Console()
progress = Progress(console)
output = WorkerOutput(console, Path(directory) / "engine.log")
supervisor = Supervisor(
    Limits(float(start_seconds), float(stop_seconds)), output, progress, lambda _event: console.say("READY")
)
if port == "0":
    children = [Child("engine", (sys.executable, script), os.environ)]
else:
    hosting = Hosting(Path(directory) / "status", int(port))
    java = (sys.executable, str(Path(__file__).with_name("fake_java.py")), port, script)
    environment = {**os.environ, "LMI_STATUS_PIPE": str(hosting.pipe)}
    children = [Child("engine", java, environment, hosting=hosting)]
if (companion := Path(directory) / "companion.py").exists():
    children.insert(0, Child("cache", (sys.executable, str(companion)), os.environ, companion=True))
outcome = supervisor.run(tuple(children))
console.say(outcome.reason)
console.close()
sys.exit(outcome.code)
