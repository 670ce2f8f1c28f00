"""A session's KV cache amid more other traffic than the cache's tier in RAM holds."""

import random
from itertools import count

from tests.e2e.client import Client
from tests.e2e.server import Server
from tests.timing import eventually

SESSION, NEW = "X-Amzn-SageMaker-Session-Id", "X-Amzn-SageMaker-New-Session-Id"
TOKENS, CHUNK = 4_000, 256
WHOLE_CHUNKS = TOKENS // CHUNK * CHUNK
TIER_BYTES, BYTES_PER_TOKEN = 0.5 * 2**30, 2048
_seeds = count(5_000)


def document() -> list[int]:
    """Return a prompt nobody has sent yet."""
    return random.Random(next(_seeds)).choices(range(300, 600), k=TOKENS)


def cached_tokens(api: Client, prompt: list[int], session: str = "") -> int:
    """Send a prompt, and return how many of its tokens came from a cache."""
    body = {"prompt": prompt, "max_tokens": 1, "temperature": 0}
    response = api.post("/v1/completions", body, {SESSION: session} if session else {})
    assert response.status_code == 200, response.text
    return int((response.json()["usage"]["prompt_tokens_details"] or {}).get("cached_tokens") or 0)


def test_a_sessions_prompt_stays_in_ram_while_more_passes_through_than_fits(cached: Server) -> None:
    api = cached.client
    eventually(lambda: api.metric("lmi_cache_server_up") == 1, "the cache server is up", 120)
    session = api.invoke({"requestType": "NEW_SESSION"}).headers[NEW].partition(";")[0]
    ours, other = document(), document()
    cached_tokens(api, ours, session)
    cached_tokens(api, other)
    for _ in range(int(TIER_BYTES / BYTES_PER_TOKEN / TOKENS) + 1):
        cached_tokens(api, document())
    assert cached_tokens(api, ours, session) == WHOLE_CHUNKS
    assert cached_tokens(api, other) == 0
