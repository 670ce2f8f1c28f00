"""vLLM's gauge of running adapters has one series, however many mixes of them have run."""

from types import SimpleNamespace

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from handlers.adapters.running import hold_to_latest


def test_only_the_adapters_that_run_now_are_told() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("vllm:lora_requests_info", "Running.", ["running_lora_adapters"], registry=registry)
    prometheus = SimpleNamespace(gauge_lora_info=gauge)
    hold_to_latest([SimpleNamespace(), SimpleNamespace(gauge_lora_info=None), prometheus])
    for number in range(50):
        prometheus.gauge_lora_info.labels(running_lora_adapters=f"a,{number // 2}").set(number)
    told = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert told == ['vllm:lora_requests_info{running_lora_adapters="a,24"} 49.0']
