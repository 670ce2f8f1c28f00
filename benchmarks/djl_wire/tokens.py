"""The token that every stream of this benchmark repeats: an event as vLLM writes one, of the size they have."""

import json

MARK = b"data: {"
"""Once in each token, and nowhere else in what an engine sends."""
_EVENT = {
    "id": "chatcmpl-8d92f8f4a9674fd39d529b04abbe77a3",
    "object": "chat.completion.chunk",
    "created": 1795430400,
    "model": "meta-llama/Llama-3.1-8B-Instruct",
    "choices": [{"index": 0, "delta": {"content": " token"}, "logprobs": None, "finish_reason": None}],
}
TOKEN = b"data: " + json.dumps(_EVENT, separators=(",", ":")).encode() + b"\n\n"


def asked(body: bytes) -> int:
    """Return how many tokens a request wants."""
    return int(json.loads(body)["tokens"])
