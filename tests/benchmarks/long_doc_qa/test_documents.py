"""Documents: exact in length, alike in nothing, the same for the same seed."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from benchmarks.long_doc_qa.arms import arms, disk_yaml, environment, kv_bytes_per_token, shared_options, sizes
from benchmarks.long_doc_qa.documents import QUESTION, Workload, body, pre_warm_up, prompts
from benchmarks.tiny_model import _tokenizer

WORK = Workload(documents=12, tokens=300, seed=3)
LLAMA_8B = '{"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}'
DEEPSEEK = '{"num_hidden_layers": 61, "num_attention_heads": 128, "kv_lora_rank": 512, "hidden_size": 7168}'


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return _tokenizer()


def test_every_prompt_has_exactly_the_tokens_asked_for_and_ends_in_the_question(tokenizer: Tokenizer) -> None:
    made = prompts(WORK, tokenizer)
    assert [len(prompt) for prompt in made] == [300] * 12
    assert all(tokenizer.decode(prompt).endswith(QUESTION) for prompt in made)


def test_no_two_prompts_begin_alike(tokenizer: Tokenizer) -> None:
    made = prompts(WORK, tokenizer) + pre_warm_up(WORK, tokenizer)
    assert len({prompt[:16] for prompt in made}) == 12 + 5


def test_the_seed_alone_decides_documents_and_order(tokenizer: Tokenizer) -> None:
    assert prompts(WORK, tokenizer) == prompts(WORK, tokenizer)
    assert prompts(WORK, tokenizer)[0] != prompts(Workload(12, 300, seed=4), tokenizer)[0]
    assert WORK.query_order() == WORK.query_order() != sorted(WORK.query_order()) == list(range(12))


def test_a_prompt_too_short_for_the_question_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="a prompt of 5 tokens has no room"):
        prompts(Workload(1, tokens=5), tokenizer)


def test_a_request_is_greedy_and_asks_for_the_runner_up_and_the_usage() -> None:
    sent = body("m", (1, 2), WORK)
    assert (sent["prompt"], sent["temperature"], sent["logprobs"], sent["max_tokens"]) == ([1, 2], 0, 2, 32)
    assert sent["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("documents", [1, 6, 46, 500])
def test_ram_and_disk_hold_every_document_and_the_engine_four(documents: int) -> None:
    work = Workload(documents)
    size = sizes(work, bytes_per_token=8192, engine_documents=4)
    assert size.documents_in(size.ram_gib, work) >= documents
    assert size.documents_in(size.disk_gib, work) >= documents
    blocks = [arm.options["num_gpu_blocks_override"] for arm in arms(work, size, Path("disk"))]
    assert set(blocks[:4]) == {4 * 32 + 1}
    assert blocks[4] >= (documents + 4) * 32


def test_a_smaller_block_of_the_engine_leaves_its_cache_at_four_documents() -> None:
    work = Workload()
    first, *_ = arms(work, sizes(work, 8192, block_tokens=16), Path("disk"))
    assert first.options["num_gpu_blocks_override"] == 4 * 252 + 1


def test_arms_differ_from_the_first_in_their_cache_alone() -> None:
    work = Workload()
    first, *others = arms(work, sizes(work, 8192, 4), Path("disk"))
    differing = {name for arm in others for name, value in arm.options.items() if first.options.get(name) != value}
    assert {name for name in differing if not name.startswith("lmcache_")} == {"num_gpu_blocks_override"}


def test_options_reach_the_server_through_its_environment() -> None:
    work = Workload()
    _, ram, disk, *_ = arms(work, sizes(work, 8192, 4), Path("disk"))
    given = environment(ram.on_top_of(shared_options(Path("model"), work)))
    assert given["OPTION_MODEL_ID"] == "model"
    assert (given["OPTION_LMCACHE_AUTO_CONFIG"], given["OPTION_LMCACHE_MAX_DISK_GB"]) == ("true", "0")
    assert environment(disk)["OPTION_LMCACHE_CONFIG_FILE"] == "disk/lmcache.yaml"


def test_a_tier_on_disk_alone_keeps_nothing_in_ram() -> None:
    assert disk_yaml(sizes(Workload(), 8192, 4), Path("/disk")) == (
        "local_cpu: false\nmax_local_cpu_size: 0.2\nlocal_disk: /disk\nmax_local_disk_size: 2.2\n"
        "extra_config:\n  use_odirect: true\n"
    )


def test_a_token_of_llama_3_1_8b_takes_128_kib_and_mla_is_left_to_the_user(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(LLAMA_8B)
    assert kv_bytes_per_token(tmp_path, 2) == 128 << 10
    (tmp_path / "config.json").write_text(DEEPSEEK)
    with pytest.raises(ValueError, match="--kv-bytes-per-token"):
        kv_bytes_per_token(tmp_path, 2)
