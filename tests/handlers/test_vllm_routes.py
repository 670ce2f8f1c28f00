"""Every route of the pinned vLLM's application is either offered or left out on purpose; a new one needs a decision."""

import subprocess
import sys

import pytest

from handlers import routes

# vLLM's own: documentation of all its routes, data-parallel scaling, other requests' generations, KV events.
LEFT_OUT = {
    "/docs",
    "/docs/oauth2-redirect",
    "/inference/v1/abort_requests",
    "/inference/v1/generate",
    "/is_scaling_elastic_ep",
    "/kv_event_sources",
    "/openapi.json",
    "/redoc",
    "/scale_elastic_ep",
    "/v1/responses/{response_id}",  # stored responses, which vLLM keeps in memory without a bound
    "/v1/responses/{response_id}/cancel",
}
# Routes that vLLM adds only for a pooling model, whose configuration this test does not build.
POOLING = {"/v1/embeddings", "/v2/embed", "/pooling", "/classify", "/score", "/v1/score", "/rerank", "/v1/rerank",
           "/v2/rerank", "/cohere/v2/chat"}  # fmt: skip
LIST_ROUTES = """
from handlers import engine
from vllm.entrypoints.launchers.app import build_app
app = build_app(engine.parse(("--model=none",)), ("generate", "transcription"), None)
found = list(app.routes)
for route in found:
    found += getattr(getattr(route, "router", None) or route, "routes", None) or []
print("ROUTES", *{route.path for route in found if getattr(route, "path", None)})
"""


@pytest.mark.engine
def test_every_route_of_the_engine_is_offered_or_left_out_on_purpose() -> None:
    done = subprocess.run([sys.executable, "-c", LIST_ROUTES], capture_output=True, text=True, check=False)
    told = [line for line in done.stdout.splitlines() if line.startswith("ROUTES ")]
    assert told, done.stderr[-2000:]
    engines = set(told[0].split()[1:])
    assert {path for path in engines if routes.find(path) is None} == LEFT_OUT
    assert set(routes._INFERENCE) - POOLING <= engines
