"""Measures DJL's Python engine and ours on the wire: `python -m benchmarks.djl_wire --help`.

The peer counts what arrives and looks at nothing else, so that the engine is what is measured.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.djl_wire import parts
from benchmarks.djl_wire.engines import running
from benchmarks.djl_wire.tokens import MARK, TOKEN
from benchmarks.surroundings import surroundings

DESCRIPTION = """Streams that run as fast as the engine carries them, over the unix socket to a peer in place of Java:
djl_python's engine with a handler written as upstream's, the same engine with our handler, and our engine with it."""
LAST = b"last\0\0\0\4True"
"""Once in each stream, at its end."""
READ_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Arm:
    """An engine and a handler."""

    name: str
    stock: bool
    entry_point: str


UPSTREAM, OURS = "upstream", "ours"
ARMS = (
    Arm(UPSTREAM, stock=True, entry_point="benchmarks.djl_wire.upstream_entry"),
    Arm("upstream's engine, our handler", stock=True, entry_point="benchmarks.djl_wire.our_entry"),
    Arm(OURS, stock=False, entry_point="benchmarks.djl_wire.our_entry"),
)


@dataclass(frozen=True)
class Figures:
    """One measurement."""

    tokens_per_second: float
    cpu_micros_per_token: float
    first_token_ms: float


def main() -> int:
    """Measure every arm in turns; 1: a stream came short, so the figures mean nothing."""
    options = _arguments()
    if lacking := parts.missing():
        print(lacking, file=sys.stderr)
        return 1
    stock = parts.build().stock
    found: dict[tuple[int, str], list[Figures]] = {}
    for turn in range(options.turns):
        for streams in options.streams:
            for arm in ARMS if turn % 2 == 0 else reversed(ARMS):
                figures = measure(arm, stock, streams, options.tokens // streams)
                found.setdefault((streams, arm.name), []).append(figures)
                print(f"{arm.name}, {streams} streams: {figures}", file=sys.stderr)
    for name, told in surroundings("benchmarks.djl_wire").items():
        print(f"{name}: {told}")
    print(f"\n{table(found)}")
    return 0


def measure(arm: Arm, stock: Path, streams: int, tokens: int) -> Figures:
    """Have `streams` streams of `tokens` tokens each at once, from the first request to the last token."""
    with (
        tempfile.TemporaryDirectory() as directory,
        running(stock if arm.stock else None, arm.entry_point, Path(directory)) as engine,
    ):
        peer = engine.connect()
        if peer.load({})[0] != 200:
            raise SystemExit(f"{arm.name} did not load:\n" + "".join(engine.log[-20:]))
        process = psutil.Process(engine.process.pid)
        spent, began = _cpu_seconds(process), time.perf_counter()
        for _ in range(streams):
            peer.ask(json.dumps({"tokens": tokens}).encode())
        buffer, kept, first, came, ended = bytearray(READ_BYTES), b"", 0.0, 0, 0
        while ended < streams:
            size = peer.receive_into(buffer)
            if not size:
                raise SystemExit(f"{arm.name} has closed the connection")
            first = first or time.perf_counter() - began
            chunk = kept + bytes(memoryview(buffer)[:size])
            came += chunk.count(MARK) - kept.count(MARK)
            ended += chunk.count(LAST) - kept.count(LAST)
            kept = chunk[-len(LAST) :]
        seconds, total = time.perf_counter() - began, streams * tokens
        cpu = _cpu_seconds(process) - spent
        peer.close()
    if came != total:
        raise SystemExit(f"{arm.name}: {came} tokens of {total} arrived")
    return Figures(round(total / seconds), round(cpu / total * 1e6, 2), round(first * 1e3, 1))


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def table(found: dict[tuple[int, str], list[Figures]]) -> str:
    """Return the medians as Markdown, and what ours is to upstream's."""
    lines = ["| streams | engine | tokens/s | CPU us/token |", "| ---: | --- | ---: | ---: |"]
    for (streams, name), figures in sorted(found.items(), key=lambda item: item[0][0]):
        rates = sorted(figure.tokens_per_second for figure in figures)
        cpu = statistics.median(figure.cpu_micros_per_token for figure in figures)
        spread = f"{statistics.median(rates):,.0f} ({rates[0]:,.0f}-{rates[-1]:,.0f})"
        lines.append(f"| {streams} | {name} | {spread} | {cpu:.1f} |")
    for streams in sorted({streams for streams, _ in found}):
        theirs, ours = (found[streams, name] for name in (UPSTREAM, OURS))
        rate = statistics.median(f.tokens_per_second for f in ours) / statistics.median(
            f.tokens_per_second for f in theirs
        )
        cpu = statistics.median(f.cpu_micros_per_token for f in theirs) / statistics.median(
            f.cpu_micros_per_token for f in ours
        )
        lines.append(f"\n{streams} streams: {rate:.1f} times the tokens/s, a token for 1/{cpu:.1f} of the CPU.")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=DESCRIPTION)
    parser.add_argument("--streams", type=int, nargs="+", default=[64, 256], help="how many at once (64 256)")
    parser.add_argument("--tokens", type=int, default=128_000, help=f"of {len(TOKEN)} bytes, in all streams together")
    parser.add_argument("--turns", type=int, default=3, help="measurements of each (3)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
