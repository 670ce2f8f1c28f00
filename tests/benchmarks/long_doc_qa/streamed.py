"""The stream a server answers Long Doc QA with: tokens by id, their rivals, and what of the prompt it found."""

import json
from collections.abc import Sequence
from typing import Any


def streamed(prompt: Sequence[int], tokens: int, cached: int) -> bytes:
    """Answer with the prompt's own first tokens."""
    names = [f"token_id:{prompt[number]}" for number in range(tokens)]
    logprobs = {"tokens": names, "top_logprobs": [{name: -0.1, "token_id:x": -2.0} for name in names]}
    usage = {"prompt_tokens": len(prompt), "prompt_tokens_details": {"cached_tokens": cached}}
    events: list[dict[str, Any]] = [{"choices": [{"logprobs": logprobs}]}, {"choices": [], "usage": usage}]
    return b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in events) + b"data: [DONE]\n\n"
