"""The two servers compared, with the same model, flags and slots, and how an adapter is made known to each."""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.load import LoadError
from benchmarks.overhead import ENGINE_ENVIRONMENT, FLAGS, SWITCHES
from benchmarks.servers import Running, Server, without_settings

OURS, PLAIN = "ours", "vllm serve"


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the servers, not yet started."""

    server: Server
    make_known: Callable[[str, str, Path], None]
    """Of its address: make an adapter known under a name."""
    loads: Callable[[str], float | None]
    """Of its address: how many adapters it has loaded since it started; None where it does not say."""


@dataclass(frozen=True, slots=True)
class Up:
    """One of the servers, running."""

    arm: Arm
    running: Running

    @property
    def name(self) -> str:
        """Which of the servers it is."""
        return self.arm.server.name

    @property
    def chat_url(self) -> str:
        """Where it answers chats."""
        return self.arm.server.base_url + self.arm.server.chat_path

    @property
    def loads(self) -> float | None:
        """How many adapters it has loaded; None where it does not say."""
        return self.arm.loads(self.arm.server.base_url)

    def make_known(self, name: str, path: Path) -> None:
        """Make an adapter known under a name; raise LoadError where the server refuses."""
        self.arm.make_known(self.arm.server.base_url, name, path)

    @property
    def resident_mib(self) -> float:
        """The memory of all its processes."""
        process = self.running.process
        family: list[psutil.Process] = [process, *process.children(recursive=True)]
        return sum(one.memory_info().rss for one in family) / 2**20


def ours(model: Path, adapters: Path, port: int, slots: Mapping[str, int]) -> Arm:
    """Our server; adapters are registered, and loaded when they are first asked for."""
    given = {"model_id": str(model), "enable_lora": "true", "adapter_roots": str(adapters)}
    given |= {name: str(value) for name, value in slots.items()} | FLAGS | dict.fromkeys(SWITCHES, "true")
    environment = _environment() | {f"OPTION_{name.upper()}": value for name, value in given.items()}
    command = (sys.executable, "-m", "container", "serve", "--port", str(port))
    return Arm(Server(OURS, command, environment, f"http://127.0.0.1:{port}", "/invocations"), _register, _loads)


def plain(model: Path, port: int, slots: Mapping[str, int]) -> Arm:
    """`vllm serve`, whose adapters are loaded when they are made known."""
    given = FLAGS | {name: str(value) for name, value in slots.items()}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    flags += [f"--{name.replace('_', '-')}" for name in (*SWITCHES, "enable_lora")]
    address = ("--host", "127.0.0.1", "--port", str(port))
    command = (sys.executable, "-m", "benchmarks.vllm_cli", "serve", str(model), *flags, *address)
    environment = _environment() | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    server = Server(PLAIN, command, environment, f"http://127.0.0.1:{port}", "/v1/chat/completions")
    return Arm(server, _load, lambda _: None)


def _environment() -> dict[str, str]:
    return without_settings(os.environ) | ENGINE_ENVIRONMENT


def _register(base_url: str, name: str, path: Path) -> None:
    _post(f"{base_url}/adapters?{urllib.parse.urlencode({'name': name, 'src': str(path)})}", b"")


def _load(base_url: str, name: str, path: Path) -> None:
    _post(f"{base_url}/v1/load_lora_adapter", json.dumps({"lora_name": name, "lora_path": str(path)}).encode())


def _post(url: str, body: bytes) -> None:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60):
            pass
    except urllib.error.HTTPError as error:
        raise LoadError(f"{url} answered {error.code}: {error.read(300).decode(errors='replace')}") from None


def _loads(base_url: str) -> float:
    with urllib.request.urlopen(f"{base_url}/metrics", timeout=60) as response:
        lines = response.read().decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith("lmi_adapter_loads_total"))
