"""The KV cache below the engine's own: hits, isolation by salt, figures, and a cache server that is killed or hangs.

The engine's own cache holds two documents, so what a third has pushed out can only come back from the tiers.
"""

import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import psutil
import pytest

from tests.e2e.client import Client, Json
from tests.e2e.server import Server
from tests.timing import assert_within, eventually, seconds_of

TOKENS = 2_400
CHUNK = 256
WHOLE_CHUNKS = TOKENS // CHUNK * CHUNK
BACK_SECONDS = 300
"""For a cache server to be started again: two heartbeats, and its imports on two busy cores."""
_fresh = count(1000)


def document(seed: int) -> list[int]:
    """Return a prompt of TOKENS tokens, the same for the same seed."""
    return random.Random(seed).choices(range(300, 600), k=TOKENS)


def fresh() -> list[int]:
    """Return a document nobody has sent yet."""
    return document(next(_fresh))


def complete(api: Client, prompt: list[int], **more: Any) -> Json:
    """Complete a document greedily; return the answer's text, the tokens found in a cache, and the time taken.

    It takes a minute at most, as the client waits no longer.
    """
    began = time.monotonic()
    answer = api.answer({"prompt": prompt, "max_tokens": 8, "temperature": 0, **more}, "/v1/completions")
    details = answer["usage"]["prompt_tokens_details"] or {}
    seconds = time.monotonic() - began
    return {"text": answer["choices"][0]["text"], "cached": details.get("cached_tokens") or 0, "seconds": seconds}


def forget(api: Client) -> None:
    """Have the engine's own cache lose what it holds, by documents nobody asks for again."""
    for _ in range(3):
        complete(api, fresh())


def cache_server(server: Server) -> psutil.Process:
    """Return the process of LMCache's server itself."""
    return next(p for p in server.family() if any("lmcache" in part for part in p.cmdline()[:5]))


def is_up(api: Client) -> bool:
    return api.metric("lmi_cache_server_up") == 1


def figures(api: Client) -> Mapping[str, float]:
    """Return the metrics of a moment at which the cache server has told its own: it is given half a second for that."""
    moments = (api.metrics() for _ in range(100))
    return next(told for told in moments if told["lmi_cache_server_up"])


@pytest.fixture
def tiers(cached: Server) -> Iterator[Client]:
    """The server's address, with its cache server up before the test and after it."""
    eventually(lambda: is_up(cached.client), "the cache server is up", BACK_SECONDS)
    yield cached.client
    eventually(lambda: is_up(cached.client), "the cache server is up again", BACK_SECONDS)


def test_what_the_engine_has_lost_comes_back_from_the_tiers_with_the_same_answer(tiers: Client) -> None:
    prompt = fresh()
    first = complete(tiers, prompt)
    forget(tiers)
    again = complete(tiers, prompt)
    assert (first["cached"], again["cached"]) == (0, WHOLE_CHUNKS)
    assert again["text"] == first["text"]


def test_many_documents_at_once_have_the_answers_they_had_alone(tiers: Client) -> None:
    prompts = [fresh() for _ in range(8)]
    alone = [complete(tiers, prompt)["text"] for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda prompt: complete(tiers, prompt), prompts))
    assert [answer["text"] for answer in answers] == alone
    assert sum(answer["cached"] >= WHOLE_CHUNKS for answer in answers) >= 6


def test_entries_of_different_salts_are_never_shared(tiers: Client) -> None:
    prompt = fresh()
    plain = complete(tiers, prompt)["text"]
    forget(tiers)
    for salt in ("tenant/a", "tenant/b"):
        first = complete(tiers, prompt, cache_salt=salt)
        assert (first["cached"], first["text"]) == (0, plain)
        forget(tiers)
    for more in ({"cache_salt": "tenant/a"}, {"cache_salt": "tenant/b"}, {}):
        assert complete(tiers, prompt, **more)["cached"] >= WHOLE_CHUNKS
    assert complete(tiers, prompt, cache_salt="tenant/c")["cached"] == 0


@pytest.mark.parametrize("body", ["chat", "responses"])
def test_other_bodies_are_salted_and_say_what_was_found(tiers: Client, body: str) -> None:
    words = " ".join(str(number) for number in random.Random(body).choices(range(100_000), k=300))

    def found(salt: str) -> int:
        if body == "chat":
            chat = {"messages": [{"role": "user", "content": words}], "max_tokens": 1, "cache_salt": salt}
            usage = tiers.answer(chat)["usage"]
            details = usage["prompt_tokens_details"] or {}
        else:
            usage = tiers.answer({"input": words, "max_output_tokens": 16, "store": False, "cache_salt": salt})["usage"]
            details = usage["input_tokens_details"] or {}
        return details.get("cached_tokens") or 0

    assert found("a") == 0
    forget(tiers)
    assert found("a") >= CHUNK
    assert found("b") == 0


def test_an_lmi_body_is_salted_and_answered_as_without_a_cache(tiers: Client) -> None:
    words = " ".join(str(number) for number in random.Random("lmi").choices(range(100_000), k=300))
    asked = {"inputs": words, "parameters": {"max_new_tokens": 4, "details": True, "cache_salt": "a"}}
    first = tiers.answer(asked)
    forget(tiers)
    before = tiers.metric("lmi_cache_hit_tokens_total")
    assert tiers.answer(asked) == first
    assert set(first["details"]) == {"finish_reason", "generated_tokens", "seed", "tokens", "prefill"}
    assert tiers.metric("lmi_cache_hit_tokens_total") > before


def test_two_choices_of_a_salted_prompt_are_found_and_answered_as_one_is(tiers: Client) -> None:
    prompt = fresh()
    alone = complete(tiers, prompt)["text"]
    # Greedy in other words: vLLM refuses more than one choice at temperature 0.
    two = {"prompt": prompt, "max_tokens": 8, "temperature": 1, "top_k": 1, "n": 2, "cache_salt": "tenant/two"}
    for found in (0, WHOLE_CHUNKS):
        forget(tiers)
        before = tiers.metric("lmi_cache_hit_tokens_total")
        choices = tiers.answer(two, "/v1/completions")["choices"]
        assert [choice["text"] for choice in choices] == [alone, alone]
        assert tiers.metric("lmi_cache_hit_tokens_total") - before >= found


def test_the_tiers_figures_move_with_what_they_do(tiers: Client) -> None:
    names = ("query", "hit", "held", "looked_up", "stored")
    prompt = fresh()

    def counted(name: str) -> float:
        return figures(tiers)[f"lmi_cache_{name}_tokens_total"]

    before = {name: counted(name) for name in names}

    def moved(name: str) -> float:
        return counted(name) - before[name]

    complete(tiers, prompt)
    forget(tiers)
    complete(tiers, prompt)
    eventually(lambda: moved("stored") >= 4 * WHOLE_CHUNKS, "the stored tokens are told")
    assert moved("looked_up") >= 5 * WHOLE_CHUNKS
    assert (moved("query"), moved("hit"), moved("held")) == (5 * TOKENS, WHOLE_CHUNKS, WHOLE_CHUNKS)
    assert tiers.metric("lmi_cache_connected") == 1
    assert 0 < figures(tiers)["lmi_cache_tier_used_bytes"] <= tiers.metric("lmi_cache_tier_bytes")

    assert complete(tiers, prompt)["cached"] >= WHOLE_CHUNKS  # in the engine's own cache, which counts as no hit
    assert (moved("hit"), moved("held")) == (WHOLE_CHUNKS, 2 * WHOLE_CHUNKS)


def hits_resume(api: Client) -> bool:
    """Tell whether a document the engine has lost is found again."""
    prompt = fresh()
    complete(api, prompt)
    forget(api)
    return bool(complete(api, prompt)["cached"] >= WHOLE_CHUNKS)


def kill_cache_server(server: Server) -> bool:
    """Kill LMCache's server, wherever in its life it is; tell whether there was one."""
    try:
        cache_server(server).kill()
    except (StopIteration, psutil.NoSuchProcess):
        return False
    return True


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kills", "longest_pause"),
    [pytest.param(1, 1, id="once"), pytest.param(20, 15, id="20 times", marks=pytest.mark.soak)],
)
def test_a_cache_server_killed_amid_traffic_costs_no_request_and_hits_resume(
    cached: Server, tiers: Client, kills: int, longest_pause: float
) -> None:
    restarts = tiers.metric("lmi_cache_server_restarts_total")
    prompts = [fresh() for _ in range(6)]
    alone = [complete(tiers, prompt)["text"] for prompt in prompts]
    over = threading.Event()
    moments = random.Random("moments")

    def ask(seed: int) -> int:
        """Ask for one document after another, check every answer, and return how many there were."""
        chance, asked = random.Random(seed), 0
        while not over.is_set() or asked < len(prompts):
            number = chance.randrange(len(prompts))
            assert complete(tiers, prompts[number])["text"] == alone[number]
            asked += 1
        return asked

    with ThreadPoolExecutor(4) as pool:
        try:
            callers = [pool.submit(ask, seed) for seed in range(4)]
            killed = 0
            while killed < kills:
                eventually(lambda: is_up(tiers), "the cache server is up", BACK_SECONDS)
                time.sleep(moments.uniform(0.2, longest_pause))
                killed += kill_cache_server(cached)
        finally:
            over.set()
        answered = sum(caller.result() for caller in callers)
    print(f"{killed} kills, {answered} answers, every one equal")
    eventually(lambda: tiers.metric("lmi_cache_server_restarts_total") > restarts, "it is back", BACK_SECONDS)
    eventually(lambda: hits_resume(tiers), "hits resume", BACK_SECONDS)
    assert cached.output.count("serving goes on without it") >= 1


def test_a_cache_server_that_hangs_holds_requests_up_for_a_bounded_time(cached: Server, tiers: Client) -> None:
    prompts = [fresh() for _ in range(4)]
    alone = [complete(tiers, prompt)["text"] for prompt in prompts]
    forget(tiers)
    hung = cache_server(cached)
    hung.send_signal(signal.SIGSTOP)
    try:
        assert not is_up(tiers)
        assert_within(2, lambda: seconds_of(lambda: is_up(tiers)))
        answers = [complete(tiers, prompt) for prompt in prompts]
    finally:
        if hung.is_running():
            hung.send_signal(signal.SIGCONT)
    assert [answer["text"] for answer in answers] == alone
    eventually(lambda: hits_resume(tiers), "hits resume", BACK_SECONDS)
