"""Checks 30, 74 and 79: what an operator sees of the traffic, and what nobody may see in a log."""

from concurrent.futures import ThreadPoolExecutor

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.client import Client
from tests.e2e.conftest import SECRET
from tests.e2e.server import Server
from tests.timing import assert_within, eventually, seconds_of

DASHBOARD = (
    "vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:time_to_first_token_seconds_bucket",
    "vllm:inter_token_latency_seconds_bucket", "vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc",
    "vllm:num_requests_waiting", "vllm:num_requests_running", "vllm:e2e_request_latency_seconds_bucket",
)  # fmt: skip
ID = "X-Amzn-SageMaker-Inference-Id"


def series(api: Client) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """Return every time series of /metrics: its name and its labels."""
    response = api.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(response.text)
    return {(s.name, tuple(sorted(s.labels.items()))) for family in families for s in family.samples}


def test_check_30_the_inference_id_is_in_the_log_once_per_request(tiny: Server) -> None:
    for name, body in {"whole": {"prompt": "a", "max_tokens": 1}, "bad": {}, "tgi": {"inputs": "a"}}.items():
        tiny.client.invoke(body, {ID: f"check-30-{name}"})
        eventually(lambda name=name: f"check-30-{name}" in tiny.output, "the request's log line")  # type: ignore[misc]
        assert tiny.output.count(f"check-30-{name}") == 1


def test_an_inference_id_cannot_forge_a_log_line(tiny: Server) -> None:
    tiny.client.invoke({"prompt": "a", "max_tokens": 1}, {ID: 'x" POST /forged 200 id=forged'})
    tiny.client.invoke({"prompt": "a", "max_tokens": 1}, {ID: "check-30-after"})
    eventually(lambda: "check-30-after" in tiny.output, "the next request's log line")
    assert not [line for line in tiny.output.splitlines() if "POST /forged 200" in line]


def test_check_74_metrics_are_prometheus_text_with_what_sagemakers_dashboard_queries(api: Client) -> None:
    api.answer({"prompt": "Hello", "max_tokens": 4})
    names = {name for name, _ in series(api)}
    assert [name for name in DASHBOARD if name not in names] == []


def test_check_74_metrics_are_quick_under_load(api: Client) -> None:
    with api.in_flight(32):
        assert_within(1, lambda: seconds_of(lambda: series(api)))


def test_check_74_requests_add_no_series_of_their_own(api: Client) -> None:
    def send(number: int) -> None:
        api.invoke({"prompt": f"number {number}", "max_tokens": 1, "user": f"u{number}"}, {ID: f"id-{number}"})
        api.post(f"/predictions/model-{number}", {"inputs": "a"})
        api.http.get(f"/path-{number}")

    send(0)
    before = series(api)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(1, 40)))
    assert series(api) - before == set()


def test_check_79_logs_hold_at_most_one_line_per_request_and_no_text(tiny: Server) -> None:
    secret = "zanzibar-quince"
    api = tiny.client
    bodies = [
        {"prompt": secret, "max_tokens": 3}, {"inputs": secret},
        {"inputs": secret, "parameters": {"max_new_tokens": -1}}, {"prompt": secret, "model": "nope"},
        {"messages": [{"role": "user", "content": secret}], "max_tokens": 3},
        {"messages": [{"role": secret}], "max_tokens": 3},
        {"prompt": "a", "max_tokens": secret}, {"prompt": "a", "stop": [secret, ""]},
        {"prompt": secret, "max_tokens": 3, "stream": True},
        {"prompt": "a", "structured_outputs": {"regex": f"({secret}"}, "stream": True},
    ]  # fmt: skip
    before = lines_so_far(tiny, "check-79-begins")
    for body in bodies:
        api.invoke(body)
    api.post("/invocations", f'{{"prompt": "{secret}'.encode())
    assert lines_so_far(tiny, "check-79-ends") - before <= len(bodies) + 2
    assert secret not in tiny.everything_logged


def test_row_26_no_log_holds_a_secret_of_the_environment(tiny: Server) -> None:
    assert SECRET not in tiny.everything_logged


def lines_so_far(server: Server, name: str) -> int:
    """Return how long the log is with the line of a request of that name, which earlier requests' precede."""
    eventually(lambda: server.client.metric("lmi_requests_in_flight") == 0, "no request in flight")
    server.client.invoke({"prompt": "a", "max_tokens": 1}, {ID: name})
    eventually(lambda: name in server.output, "the request's log line")
    return next(number for number, line in enumerate(server.output.splitlines()) if name in line)
