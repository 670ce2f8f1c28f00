"""vLLM's completions replies into TGI objects: `generated_text`, `details` with every token, one object per token.

Reads the replies that `tgi.parse` asks for: with token ids, and logprobs keyed `token_id:N`.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import orjson

from handlers.streams import StreamFormat, record
from handlers.tgi import TgiRequest
from handlers.token_text import TokenTexts


class TokenNames:
    """What a token id is called on its own, and whether it is special."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder() if tokenizer is not None else {}
        self._special = frozenset(token_id for token_id, token in added.items() if token.special)

    def describe(self, token_id: int, text: str | None, logprob: float | None) -> dict[str, Any]:
        """Return a TGI token; a text of None is looked up (a fragment of a character shows as U+FFFD)."""
        if text is None:
            text = self.tokenizer.decode([token_id], skip_special_tokens=False) if self.tokenizer is not None else ""
        return {"id": token_id, "text": text, "logprob": logprob, "special": token_id in self._special}

    def top(self, logprobs: dict[str, float] | None, count: int) -> list[dict[str, Any]]:
        """Return the `count` likeliest alternatives of one step, likeliest first."""
        likeliest = sorted((logprobs or {}).items(), key=lambda item: -item[1])[:count]
        return [self.describe(_token_id(name), None, logprob) for name, logprob in likeliest]


@dataclass
class _Sequence:
    """One sequence while it is told: tokens whose text is not complete yet, and the text so far."""

    texts: TokenTexts
    input_length: int
    pending: deque[dict[str, Any]] = field(default_factory=deque)
    text: str = ""
    tokens: int = 0

    def push(self, names: TokenNames, choice: dict[str, Any], top_n: int) -> list[dict[str, Any]]:
        """Take one chunk of the engine's and return the tokens (with `top_tokens`) that are complete."""
        ids, logprobs = choice["token_ids"] or [], choice["logprobs"] or {}
        values = logprobs.get("token_logprobs") or [None] * len(ids)
        tops = logprobs.get("top_logprobs") or [None] * len(ids)
        for token_id, logprob, top in zip(ids, values, tops, strict=True):
            told = {"token": names.describe(token_id, "", logprob)}
            self.pending.append(told | ({"top_tokens": names.top(top, top_n)} if top_n else {}))
        self.tokens += len(ids)
        self.text += choice["text"]
        ready = self.texts.push(ids, choice["text"])
        if choice.get("finish_reason") is not None:
            ready += self.texts.finish()
        return [self._complete(text) for _, text in ready]

    def _complete(self, text: str) -> dict[str, Any]:
        told = self.pending.popleft()
        told["token"]["text"] = text
        return told


class TgiReply:
    """A Rewrite of a completions reply for one TGI request."""

    def __init__(self, request: TgiRequest, names: TokenNames, form: StreamFormat, as_list: bool) -> None:
        self.format: StreamFormat = form
        self._request = request
        self._names = names
        self._as_list = as_list or request.batch
        self._running: dict[int, _Sequence] = {}

    def event(self, data: bytes) -> bytes:
        """Turn one chunk into a record per token; the last of a sequence carries its text and details."""
        chunk = orjson.loads(data)
        told = b""
        for choice in chunk["choices"]:
            told += self._chunk(choice)
        return told

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        index = choice["index"]
        if index not in self._running:
            self._running[index] = self._sequence(choice)
        sequence = self._running[index]
        tokens = sequence.push(self._names, choice, self._request.top_n_tokens)
        finished = choice.get("finish_reason") is not None
        if finished and not tokens:
            tokens = [{"token": None}]
        events = [{"index": index, **told, "generated_text": None, "details": None} for told in tokens]
        if finished:
            prompt = self._request.inputs[index] if self._request.return_full_text else ""
            events[-1]["generated_text"] = prompt + sequence.text
            if self._request.details:
                events[-1]["details"] = {
                    "finish_reason": _finish_reason(choice),
                    "generated_tokens": sequence.tokens,
                    "seed": self._request.seed,
                    "input_length": sequence.input_length,
                }
        return b"".join(record(orjson.dumps(event), self.format) for event in events)

    def whole(self, body: bytes) -> bytes:
        """Turn a complete reply into one object, or a list of them for a list of inputs."""
        choices = orjson.loads(body)["choices"]
        per_input = self._request.sequences
        answers = [
            self._answer(prompt, choices[start : start + per_input])
            for prompt, start in zip(self._request.inputs, range(0, len(choices), per_input), strict=True)
        ]
        return orjson.dumps(answers if self._as_list else answers[0])

    def _answer(self, prompt: str, candidates: list[dict[str, Any]]) -> dict[str, Any]:
        best, *others = sorted(candidates, key=_likelihood, reverse=True) if len(candidates) > 1 else candidates
        answer: dict[str, Any] = {"generated_text": self._text(prompt, best)}
        if not self._request.details:
            return answer
        answer["details"] = self._details(best) | {"prefill": self._prefill(best)}
        if others:
            answer["details"]["best_of_sequences"] = [
                {"generated_text": self._text(prompt, other), **self._details(other)} for other in others
            ]
        return answer

    def _text(self, prompt: str, choice: dict[str, Any]) -> str:
        text: str = choice["text"]
        return prompt + text if self._request.return_full_text else text

    def _details(self, choice: dict[str, Any]) -> dict[str, Any]:
        told = self._sequence(choice).push(self._names, choice, self._request.top_n_tokens)
        details = {
            "finish_reason": _finish_reason(choice),
            "generated_tokens": len(choice["token_ids"]),
            "seed": self._request.seed,
            "tokens": [token["token"] for token in told],
        }
        if self._request.top_n_tokens:
            details["top_tokens"] = [token["top_tokens"] for token in told]
        return details

    def _prefill(self, choice: dict[str, Any]) -> list[dict[str, Any]]:
        ids, steps = choice["prompt_token_ids"] or [], choice.get("prompt_logprobs") or []
        return [
            self._names.describe(token_id, None, (step or {}).get(str(token_id), {}).get("logprob"))
            for token_id, step in zip(ids, steps, strict=False)
        ]

    def _sequence(self, choice: dict[str, Any]) -> _Sequence:
        prompt_ids = choice.get("prompt_token_ids") or []
        skip_special = self._request.completion.get("skip_special_tokens", True)
        return _Sequence(TokenTexts(self._names.tokenizer, prompt_ids, skip_special), len(prompt_ids))


def _token_id(name: str) -> int:
    return int(name.removeprefix("token_id:"))


def _likelihood(choice: dict[str, Any]) -> float:
    return sum(logprob or 0.0 for logprob in (choice["logprobs"] or {}).get("token_logprobs") or [])


def _finish_reason(choice: dict[str, Any]) -> str:
    """Name the end as TGI does; vLLM's `stop` covers both the end token and a stop string."""
    if choice["finish_reason"] != "stop":
        return str(choice["finish_reason"])
    return "stop_sequence" if isinstance(choice.get("stop_reason"), str) else "eos_token"
