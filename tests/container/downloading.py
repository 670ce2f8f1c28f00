"""Downloads one S3 prefix into a directory as `serve` would, in a process that tests can kill."""

import sys
from pathlib import Path

from container.console import Console
from container.download import download
from container.errors import PreparationError
from container.progress import Progress

url, directory = sys.argv[1:]
console = Console()
try:
    download(url, Path(directory), Progress(console))
except PreparationError as error:
    console.say(str(error))
    sys.exit(2)
finally:
    console.close()
