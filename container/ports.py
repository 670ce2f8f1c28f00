"""Finds free ports on loopback for children that bind them later, and keeps everybody else off them until then."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from container.errors import PreparationError

_TRIALS = 100


def check_free(host: str, port: int) -> None:
    """Refuse a port that somebody listens on, for a child that will open it only when all else is done."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise PreparationError(f"cannot listen on {host}:{port}: {error.strerror}") from None


@contextmanager
def reserved_ports(count: int, within: tuple[int, int] | None, never: frozenset[int]) -> Iterator[tuple[int, ...]]:
    """Yield free ports, from the top of a range where one is given, for vLLM counts up from its bottom.

    Each is held by a socket that is bound and never listens. It is bound without SO_REUSEADDR, so that it fails where
    anybody else is, and shared afterwards: Linux then lets a socket that has the option too bind and listen beside it,
    as those of ZeroMQ and asyncio have, and still gives the port to nobody who asks for any.
    """
    with ExitStack() as held:
        ports: list[int] = []
        for candidate in _candidates(within):
            if len(ports) == count:
                break
            if candidate in never:
                continue
            holder = held.enter_context(socket.socket())
            try:
                holder.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            port = holder.getsockname()[1]
            if port not in never:
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                ports.append(port)
        if len(ports) < count:
            where = f"in {within[0]}-{within[1]}" if within else "on loopback"
            raise PreparationError(f"fewer than {count} ports are free {where}")
        yield tuple(ports)


def _candidates(within: tuple[int, int] | None) -> Iterable[int]:
    """Yield ports to try; 0 is any."""
    return range(within[1], within[0] - 1, -1) if within else [0] * _TRIALS
