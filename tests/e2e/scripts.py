"""The `model.py` files of the adapter tests; what they do to a request, its header X-Wish says."""

from pathlib import Path

from tests.e2e.adapters import write_adapter
from tests.e2e.models import write_model

WISH = "X-Wish"
RAN = "ran"
"""The file beside the base model's script that gets a line each time the script is executed: its worker's session."""
_HEAD = """
import asyncio, os, time
from pathlib import Path
from djl_python import Input, Output
from djl_python.input_parser import input_formatter
from djl_python.output_formatter import output_formatter
"""
BASE = f"""{_HEAD}
with Path(__file__).with_name({RAN!r}).open("a") as file:
    file.write(f"{{os.getsid(0)}}\\n")


def wish(request):
    return request.headers.get("x-wish", "")


async def handle(inputs: Input) -> Output:
    if inputs.get_property("X-Wish") == "handle":
        return Output().add_as_json({{"handled": inputs.get_as_json()}})
    return None


@input_formatter
def on_request(payload, tokenizer=None, request=None):
    if wish(request) == "raise at the request":
        raise ValueError("no such dish")
    if wish(request) == "count tokens":
        payload["user"] = str(len(tokenizer.encode(payload["prompt"])))
    if wish(request) == "dawdle":
        time.sleep(3)
    return payload


@output_formatter
def on_reply(reply, request=None):
    if wish(request) == "raise at the reply":
        raise ValueError("burnt")
    if wish(request) == "raise at the end" and reply["choices"][0]["finish_reason"]:
        raise ValueError("burnt")
    if wish(request) == "drop all but the end" and not reply["choices"][0]["finish_reason"]:
        return None
    if wish(request) == "text of its own":
        return "data: of its own\\n\\n"
    if wish(request) == "attributes":
        return {{"text": reply.choices[0].text, "id": reply.id}}
    if wish(request) == "sign":
        about = {{"session": request.session, "adapter": request.adapter, "worker": os.getsid(0)}}
        return {{**reply, "signed": "base", **about}}
    return reply
"""
SIGNING = f"""{_HEAD}
calls = []


@output_formatter
async def on_reply(reply):
    await asyncio.sleep(0)
    calls.append(1)
    return {{**reply, "signed": Path(__file__).parent.name, "calls": len(calls)}}
"""
"""An adapter's own: asynchronous, without the request, and with a count that nobody else may move."""
HANDLING = f"""{_HEAD}
async def handle(inputs: Input) -> Output:
    if inputs.is_empty() or inputs.get_property("Content-Type") != "text/words":
        return None
    words = inputs.get_as_string().split()
    if inputs.get_property("X-Wish") == "stream":
        return Output().add_stream_content(iter(words))
    return Output().add_as_json({{"words": len(words)}}).add_property("X-Counted", "yes")
"""
"""An adapter's own: it counts the words of a body, or streams them, and leaves other bodies to the model."""
SAGEMAKER = """
import json


def input_fn(request_body, content_type):
    if content_type == "text/words":
        return {"inputs": request_body.decode(), "parameters": {"max_new_tokens": 6}}
    return json.loads(request_body)


def output_fn(prediction, accept):
    if accept == "text/words":
        return prediction["generated_text"], accept
    return prediction
"""
"""As it is written for SageMaker's PyTorch containers, without a thought of bodies that are no object."""
UNABLE = "import time\nraise RuntimeError('out of order')\n"
"""It compiles; running it fails, at its second line."""


def write_model_with_adapters(target: Path) -> Path:
    """Write a model directory as it is uploaded to LMI: weights, a script, and adapters with scripts and without."""
    write_model(target, seed=17)
    (target / "model.py").write_text(BASE)
    for seed, (name, script) in enumerate({"plain": "", "a-b": SIGNING, "a.b": SIGNING, "unable": UNABLE}.items()):
        write_adapter(target / "adapters" / name, 900 + seed, script)
    return target
