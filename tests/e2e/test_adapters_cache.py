"""Must-show 6: below adapters the KV cache tiers give each its own entries back, and nobody another's."""

from pathlib import Path

from tests.e2e.adapter_calls import register, registered
from tests.e2e.adapters import replace_weights
from tests.e2e.client import Client, Json, refusal
from tests.e2e.server import Server
from tests.e2e.test_cache import BACK_SECONDS, WHOLE_CHUNKS, complete, forget, fresh, is_up
from tests.timing import eventually


def answer(api: Client, prompt: list[int], name: str) -> Json:
    """Complete a prompt with an adapter, or with the base model."""
    return complete(api, prompt, **({"adapters": name} if name else {}))


def test_must_show_6_base_and_adapters_hit_their_own_entries_and_none_of_the_others(
    cached: Server, adapter: Path, other: Path
) -> None:
    api, prompt = cached.client, fresh()
    eventually(lambda: is_up(api), "the cache server is up", BACK_SECONDS)
    with registered(api, one=adapter, two=other):
        names = ("", "one", "two")
        cold = {name: answer(api, prompt, name) for name in names}
        assert [cold[name]["cached"] for name in names] == [0, 0, 0]
        assert len({cold[name]["text"] for name in names}) == 3
        engine = {name: answer(api, prompt, name) for name in names}
        forget(api)
        tiers = {name: answer(api, prompt, name) for name in names}
    for name in names:
        assert tiers[name]["cached"] == WHOLE_CHUNKS
        assert engine[name]["cached"] >= WHOLE_CHUNKS
        assert engine[name]["text"] == tiers[name]["text"] == cold[name]["text"]


def test_an_adapters_new_weights_find_nothing_of_the_old_and_the_old_ones_find_theirs_again(
    cached: Server, adapter: Path
) -> None:
    api, prompt = cached.client, fresh()
    eventually(lambda: is_up(api), "the cache server is up", BACK_SECONDS)
    weights = (adapter / "adapter_model.safetensors").read_bytes()
    with registered(api, revised=adapter):
        old = answer(api, prompt, "revised")
        replace_weights(adapter, 66)
        register(api, "revised", adapter)
        new = answer(api, prompt, "revised")
        assert (new["cached"], new["text"] == old["text"]) == (0, False)
        forget(api)
        (adapter / "adapter_model.safetensors").write_bytes(weights)
        register(api, "revised", adapter)
        again = answer(api, prompt, "revised")
        assert (again["cached"], again["text"]) == (WHOLE_CHUNKS, old["text"])


def test_a_callers_own_salt_keeps_entries_apart_within_an_adapter(cached: Server, adapter: Path) -> None:
    api, prompt = cached.client, fresh()
    eventually(lambda: is_up(api), "the cache server is up", BACK_SECONDS)
    with registered(api, salted=adapter):
        found = [complete(api, prompt, adapters="salted", cache_salt=salt)["cached"] for salt in ("a", "b", "a")]
    assert found[:2] == [0, 0]
    assert found[2] >= WHOLE_CHUNKS


def test_a_body_that_says_adapter_for_adapters_does_not_get_the_base_model(cached: Server, adapter: Path) -> None:
    """Here, where no script may have a field of that name."""
    with registered(cached.client, singular=adapter):
        for path in ("/invocations", "/v1/completions"):
            error = refusal(cached.client.post(path, {"prompt": "a", "adapter": "singular"}), 400)
            assert (error["param"], "`adapters`" in error["message"]) == ("adapter", True)
