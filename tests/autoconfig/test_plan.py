"""What holds for every plan, whatever the machine and the model; single plans are in `cache_cases`."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoconfig.engine_cache import EngineUse
from autoconfig.host import Gpu, HostFacts
from autoconfig.host_disks import DiskPlace, Mount, Storage
from autoconfig.lmcache.config import of_plan
from autoconfig.model import ModelFacts
from autoconfig.plan import CachePlan, plan_cache
from autoconfig.tiers import CacheWishes
from tests.autoconfig.configured import errors
from tests.autoconfig.hosts import GIB
from tests.autoconfig.planned import plan_of
from tests.autoconfig.released_models import MODELS, layout_of

MIB = 1 << 20
SIZES = st.integers(MIB, 2048 * GIB)


@st.composite
def hosts(draw: st.DrawFn) -> HostFacts:
    total = draw(SIZES)
    free = draw(st.integers(0, 8192 * GIB))
    storage = draw(st.sampled_from(get_args(Storage)))
    return HostFacts(
        gpus=(Gpu("GPU", draw(st.integers(16, 288)) * GIB),) * draw(st.sampled_from((0, 1, 4, 8))),
        ram_total_bytes=total,
        ram_available_bytes=draw(st.integers(0, total)),
        shm_free_bytes=draw(st.none() | st.integers(0, total)),
        mounts=(Mount("/", "ext4", free, storage),),
    )


def models() -> st.SearchStrategy[ModelFacts]:
    return st.builds(
        ModelFacts,
        kv=st.sampled_from([layout_of(name) for name in MODELS]),
        weight_bytes=st.none() | st.integers(MIB, 700 * GIB),
        largest_file_bytes=st.integers(0, 10 * GIB),
        context=st.none() | st.integers(1, 10**6),
    )


def uses(host: HostFacts) -> EngineUse:
    ranks = max(1, len(host.gpus))
    return EngineUse(tensor_parallel=ranks, kv_space_bytes=None if host.gpus else 4 * GIB)


def planned(host: HostFacts, model: ModelFacts, wishes: CacheWishes | None = None) -> CachePlan:
    return plan_cache(wishes or CacheWishes(), uses(host), host, model)


@given(host=hosts(), model=models())
def test_a_plan_never_takes_what_the_engine_and_the_system_need(host: HostFacts, model: ModelFacts) -> None:
    plan = planned(host, model)
    system = max(4 * GIB, host.ram_total_bytes // 20) + GIB
    processes = 2 * GIB * max(1, len(host.gpus))
    assert 0 <= plan.cpu_bytes <= max(0, host.ram_available_bytes - system - processes)
    assert plan.cpu_bytes <= 0.8 * host.ram_available_bytes
    assert plan.cpu_bytes + plan.headroom_bytes == host.ram_available_bytes
    if not host.gpus:
        assert plan.cpu_bytes <= max(0, host.ram_available_bytes - system - (model.weight_bytes or 0) - 4 * GIB)


@given(host=hosts(), model=models())
def test_a_plan_never_fills_the_disk(host: HostFacts, model: ModelFacts) -> None:
    plan = planned(host, model)
    assert 0 <= plan.disk_bytes <= max(0, host.mounts[0].free_bytes - 10 * GIB)
    if plan.disk_bytes:
        assert host.mounts[0].storage in ("instance store", "disk", "overlay")


@given(host=hosts(), model=models(), more=SIZES)
def test_more_available_ram_is_never_a_smaller_cache(host: HostFacts, model: ModelFacts, more: int) -> None:
    roomier = replace(host, ram_available_bytes=min(host.ram_total_bytes, host.ram_available_bytes + more), mounts=())
    assert planned(roomier, model).cpu_bytes >= planned(replace(host, mounts=()), model).cpu_bytes


@given(host=hosts(), model=models(), more=SIZES)
def test_more_free_disk_is_never_a_smaller_cache(host: HostFacts, model: ModelFacts, more: int) -> None:
    disk = host.mounts[0]
    roomier = replace(host, mounts=(replace(disk, free_bytes=disk.free_bytes + more),))
    assert planned(roomier, model).disk_bytes >= planned(host, model).disk_bytes


@given(host=hosts(), model=models())
def test_a_plan_is_either_of_some_use_or_off_with_a_reason(host: HostFacts, model: ModelFacts) -> None:
    plan = planned(host, model)
    if plan.off:
        assert (plan.cpu_bytes, plan.disk_bytes) == (0, 0)
    else:
        assert plan.cpu_bytes >= 64 * plan.chunk_tokens * plan.bytes_per_token
        assert max(plan.cpu_tokens, plan.disk_tokens) >= (plan.engine.tokens or 0)


@given(host=hosts(), model=models())
def test_what_is_started_is_what_was_planned_and_never_more(host: HostFacts, model: ModelFacts) -> None:
    plan = planned(host, model)
    config = of_plan(plan, "/tmp", host.cpus)
    # A tenth of a GiB is no whole number of bytes.
    assert 0 <= plan.cpu_bytes + 1 - int(config.max_local_cpu_size * GIB) <= GIB // 10
    assert 0 <= plan.disk_bytes + 1 - int(config.max_local_disk_size * GIB) <= GIB // 10
    assert bool(config.local_disk) == bool(plan.disk_bytes)


@given(tenths=st.integers(1, 5000))
def test_a_size_with_a_fraction_is_never_cut_to_whole_gib(tenths: int) -> None:
    host = HostFacts(ram_total_bytes=1024 * GIB, ram_available_bytes=1024 * GIB)
    tiny = ModelFacts(kv=replace(layout_of("Qwen/Qwen2.5-0.5B-Instruct"), layers=1, head_size=8))
    wishes = CacheWishes(min_cpu_bytes=0, max_cpu_bytes=tenths * GIB // 10 + 1)
    assert planned(host, tiny, wishes).cpu_bytes == tenths * GIB // 10


P4DE = {"instance": "ml.p4de.24xlarge"}


@pytest.mark.parametrize(("size", "ranks", "announced"), [("1.5B", 1, 2_600_000), ("72B", 4, 480_000)])
def test_the_engines_own_cache_is_near_what_was_announced(size: str, ranks: int, announced: int) -> None:
    options = {"tensor_parallel_degree": ranks}
    plan = plan_of({**P4DE, "model": f"Qwen/Qwen2.5-{size}", "options": options})
    assert plan.engine.tokens == pytest.approx(announced, rel=0.1)
    assert any(line.startswith("from 2.57 M" if size == "1.5B" else "from 495 K") for line in plan.advice)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"pipeline_parallel_degree": 2, "tensor_parallel_degree": 4}, "pipeline parallelism"),
        ({"enable_expert_parallel": "true"}, "expert parallelism"),
        ({"enable_prefix_caching": "false"}, "prefix caching is off"),
        ({"kv_cache_dtype": "nvfp4"}, "the layout of kv_cache_dtype=nvfp4 is not known"),
        ({"kv_transfer_config": '{"kv_connector":"X","kv_role":"kv_both"}'}, "gives a kv_transfer_config"),
        ({"speculative_config": '{"method":"eagle3","model":"x"}'}, "speculation with eagle3"),
        ({"speculative_config": '{"model":"x"}'}, "speculation with draft_model"),
    ],
)
def test_what_the_cache_cannot_work_with_turns_it_off(options: dict[str, object], reason: str) -> None:
    plan = plan_of({**P4DE, "model": "Qwen/Qwen2.5-72B", "options": options})
    assert reason in plan.off


def test_speculation_without_a_draft_model_changes_nothing() -> None:
    options = {"speculative_config": '{"method":"ngram","num_speculative_tokens":4}'}
    plain = {**P4DE, "model": "Qwen/Qwen2.5-72B"}
    assert plan_of({**plain, "options": options}) == plan_of(plain)


def test_layers_that_predict_several_tokens_are_counted_where_they_are_used() -> None:
    case = {"instance": "ml.p5en.48xlarge", "model": "deepseek-ai/DeepSeek-V3"}
    options = {"speculative_config": '{"method":"mtp","num_speculative_tokens":1}'}
    assert plan_of({**case, "options": options}).bytes_per_token == 62 * 576 * 2
    assert plan_of(case).bytes_per_token == 61 * 576 * 2


def test_a_directory_that_is_not_there_yet_is_said_to_be_made_and_a_file_is_no_tier() -> None:
    nvme = Mount("/", "xfs", 2000 * GIB, "instance store")
    host = HostFacts(ram_total_bytes=64 * GIB, ram_available_bytes=64 * GIB, mounts=(nvme,))
    model, wishes = ModelFacts(kv=layout_of("Qwen/Qwen2.5-7B")), CacheWishes(disk_path="/kv/a")
    new, file = (DiskPlace("/kv/a", False, "/kv", is_directory, True) for is_directory in (True, False))
    made = plan_cache(wishes, uses(host), host, model, place=new)
    assert made.disk_bytes
    assert "/kv/a does not exist, and will be created" in made.disk_reasons
    none = plan_cache(wishes, uses(host), host, model, place=file)
    assert (none.disk_bytes, none.disk_reasons) == (0, ("/kv/a cannot be a directory: /kv is a file",))


def test_too_little_ram_for_its_chunks_is_said_with_numbers_and_what_to_set() -> None:
    plan = plan_of({**P4DE, "model": "Qwen/Qwen2.5-7B", "options": {"lmcache_max_cpu_gb": 0.1}})
    assert plan.off == (
        "0.1 GiB of RAM hold 1.87 K tokens, 7 chunks of 256; 64 chunks, which may be on their way at once, take "
        "0.9 GiB; set option.lmcache_max_cpu_gb=0.9 at least"
    )
    assert not plan_of({**P4DE, "model": "Qwen/Qwen2.5-7B", "options": {"lmcache_max_cpu_gb": 0.9}}).off


def test_less_ram_than_was_asked_for_needs_no_other_reason() -> None:
    plan = plan_of({**P4DE, "model": "Qwen/Qwen2.5-72B", "options": {"lmcache_min_cpu_gb": 1000}})
    assert plan.off == "875.5 GiB of RAM is left for it, and option.lmcache_min_cpu_gb asks for 1,000.0 GiB"
    assert plan.disk_reasons == ()


def test_what_adapters_take_of_the_ram_is_left_to_them() -> None:
    case = {**P4DE, "model": "Qwen/Qwen2.5-72B"}
    slots = {"tensor_parallel_degree": 4, "enable_lora": "true", "max_loras": 2, "max_cpu_loras": 8}
    few, many = (plan_of({**case, "options": {**slots, "max_lora_rank": rank}}) for rank in (16, 256))
    assert "25.0 GiB for 8 LoRA adapters of rank 16 at most" in few.cpu_reasons[0]
    assert "401.5 GiB for 8 LoRA adapters of rank 256 at most" in many.cpu_reasons[0]
    assert many.cpu_bytes < few.cpu_bytes
    unknown = plan_of({**case, "model": "Qwen/Qwen3-Next-80B-A3B-Thinking", "options": slots})
    assert "for 8 LoRA adapters of rank 16, whose size is not known" in unknown.cpu_reasons[0]


def test_a_chunk_is_a_multiple_of_the_engines_block() -> None:
    case = {**P4DE, "model": "Qwen/Qwen2.5-7B", "options": {"block_size": 96, "tensor_parallel_degree": 4}}
    assert plan_of(case).chunk_tokens == 288


def test_wishes_that_contradict_each_other_stop_the_start() -> None:
    said = errors("option.lmcache_min_cpu_gb=8\noption.lmcache_max_cpu_gb=4")
    assert said == (
        "option.lmcache_min_cpu_gb=8 (serving.properties:1) is above option.lmcache_max_cpu_gb=4 "
        "(serving.properties:2). Keep one, or lower the first."
    )
    assert "is not an absolute directory" in errors("option.lmcache_disk_path=lmcache")
