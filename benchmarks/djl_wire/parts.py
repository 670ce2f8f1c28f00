"""DJL's Java engine and the djl_python in it, through Maven: `tests/djl/java` compiled, its libraries beside it."""

import fcntl
import hashlib
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "tests" / "djl" / "java"
BUILT = ROOT / "build" / "djl"
BUILD_SECONDS = 600


@dataclass(frozen=True)
class Parts:
    """What was built."""

    class_path: str
    stock: Path
    """A directory with djl_python_engine.py and djl_python as they come."""
    version: str
    """Of the Java engine, as in the name of its jar."""


def missing() -> str:
    """Say what this machine lacks to build them; empty where it lacks nothing."""
    lacking = [name for name in ("java", "javac", "mvn") if shutil.which(name) is None]
    return f"DJL's Java engine needs a JDK 17 and Maven, and {', '.join(lacking)} is not here" if lacking else ""


def build() -> Parts:
    """Build them unless that is done, and return where they are; raise CalledProcessError with what Maven says."""
    BUILT.mkdir(parents=True, exist_ok=True)
    sources = [PROJECT / "pom.xml", *sorted(PROJECT.rglob("*.java"))]
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = BUILT / "done"
        if not done.exists() or done.read_text(encoding="ascii") != wanted:
            command = ["mvn", "-q", "-B", "-f", str(PROJECT / "pom.xml"), "compile", "dependency:copy-dependencies"]
            subprocess.run(command, check=True, timeout=BUILD_SECONDS, stdin=subprocess.DEVNULL)
            _unpack(_jar())
            done.write_text(wanted, encoding="ascii")
    version = _jar().stem.removeprefix("python-")
    return Parts(f"{BUILT / 'classes'}:{BUILT / 'dependency'}/*", BUILT / "stock", version)


def _jar() -> Path:
    return next((BUILT / "dependency").glob("python-*.jar"))


def _unpack(jar: Path) -> None:
    """Unpack djl_python as DJL's Java side does."""
    with zipfile.ZipFile(jar) as archive:
        names = [name for name in archive.namelist() if name.startswith("djl_python") and name.endswith(".py")]
        archive.extractall(BUILT / "stock", names)
