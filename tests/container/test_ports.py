"""Which ports the children get, and that nobody else does meanwhile."""

import socket
from contextlib import closing

import pytest

from container.errors import PreparationError
from container.ports import reserved_ports


def listen(port: int, *, sharing: bool) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, sharing)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def test_a_reserved_port_is_taken_for_others_and_free_for_a_server() -> None:
    with reserved_ports(2, None, frozenset()) as (one, other):
        assert one != other
        with pytest.raises(OSError, match="in use"):
            listen(one, sharing=False)
        for _ in range(2):  # and again when it has been restarted
            with closing(listen(one, sharing=True)) as server, closing(socket.create_connection(("127.0.0.1", one))):
                server.accept()[0].close()
    with closing(listen(other, sharing=False)):
        pass


def test_two_starts_share_no_port() -> None:
    with reserved_ports(1, None, frozenset()) as (port,):
        pass
    around = (port - 40, port)
    with reserved_ports(2, around, frozenset()) as first, reserved_ports(2, around, frozenset()) as second:
        assert not set(first) & set(second)


def test_they_come_from_the_top_of_the_range_without_what_is_ours() -> None:
    with reserved_ports(1, None, frozenset()) as (port,):
        pass
    with reserved_ports(2, (port - 9, port), frozenset({port - 1})) as chosen:
        assert port - 1 not in chosen
        assert all(port - 9 <= one <= port for one in chosen)


def test_a_range_without_room_is_refused() -> None:
    with (
        pytest.raises(PreparationError, match="fewer than 2 ports are free in 8080-8080"),
        reserved_ports(2, (8080, 8080), frozenset({8080})),
    ):
        pass
