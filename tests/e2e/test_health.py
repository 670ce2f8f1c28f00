"""Checks 1-3, 5-7, 11 and 76: the health check is truthful and quick, whatever else the server does."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from threading import Barrier

from tests.e2e.client import Client, pinging
from tests.e2e.server import Server
from tests.timing import LONG_SECONDS, assert_within

PING_SECONDS = 2.0
MIB = 2**20


def test_check_02_ping_answers_200_with_an_empty_body(api: Client) -> None:
    response = api.http.get("/ping")
    assert (response.status_code, response.content) == (200, b"")


def test_check_03_ping_is_never_200_before_the_model_is_loaded_and_flips_once(tiny: Server) -> None:
    assert tiny.pings[-1] == "200"
    assert "200" not in tiny.pings[:-1]
    assert tiny.ping() == "200"


def test_check_05_ping_answers_post_and_head(api: Client) -> None:
    assert api.http.post("/ping", content=b"{}").status_code == 200
    head = api.http.head("/ping")
    assert (head.status_code, head.content) == (200, b"")


def test_check_06_ping_stays_fast_with_64_generations_in_flight(api: Client) -> None:
    def longest_ping() -> float:
        with api.in_flight(64):
            return max(api.ping_seconds() for _ in range(100))

    assert_within(PING_SECONDS, longest_ping)


def test_check_07_ping_stays_fast_while_a_25_mb_body_is_parsed(api: Client) -> None:
    body = {"messages": [{"role": "user", "content": "A fine day. " * (25 * MIB // 12)}], "max_tokens": 1}

    def longest_ping() -> float:
        with pinging(api) as taken:
            assert api.invoke(body).status_code in (200, 400)
        return max(taken)

    assert_within(PING_SECONDS, longest_ping)


def test_check_07_ping_stays_fast_while_a_long_prompt_prefills(api: Client) -> None:
    tokens = count(300)  # a new prompt each time: the engine remembers those it has seen

    def longest_ping() -> float:
        with pinging(api) as taken:
            assert api.invoke({"prompt": [next(tokens)] * 8_000, "max_tokens": 1}).status_code == 200
        return max(taken)

    assert_within(PING_SECONDS, longest_ping)


def test_check_11_connections_are_accepted_within_250_ms_under_load(api: Client) -> None:
    def connect(_: int) -> float:
        started = time.monotonic()
        with closing(api.connect()):
            taken = time.monotonic() - started
            every_connection_is_open.wait()
        return taken

    every_connection_is_open = Barrier(100, timeout=LONG_SECONDS)
    with api.in_flight(16), ThreadPoolExecutor(100) as pool:
        assert_within(0.25, lambda: max(pool.map(connect, range(100))))


def test_check_01_an_unknown_argument_is_told_and_ignored(tiny: Server) -> None:
    (line,) = [line for line in tiny.output.splitlines() if "extra-argument" in line]
    assert "ignored" in line


def test_check_76_unknown_sagemaker_variables_do_not_break_the_start(tiny: Server) -> None:
    # The fixture sets SAGEMAKER_ENABLE_LOAD_AWARE, one more of AWS's recipes and an invented one.
    assert tiny.ping() == "200"
