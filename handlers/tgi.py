"""An LMI/TGI body, `{"inputs", "parameters", "stream"}`, into a vLLM completions body and what its answer must show.

Semantics are those Text Generation Inference and LMI document; where LMI's handler departs from its own
documentation (`top_n_tokens` as `n`, `stop_sequences` ignored, sampling by default), the documentation wins.
"""

import difflib
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from handlers import salts
from handlers.errors import RequestError

Count = Annotated[int, Field(ge=1)]
_SAMPLING = ("temperature", "top_p", "top_k", "min_p")
_SAME_NAME = (
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "length_penalty",
    "seed",
    "min_tokens",
    "stop_token_ids",
    "include_stop_str_in_output",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "logit_bias",
    "bad_words",
)


class _Grammar(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["json", "regex"]
    value: dict[str, Any] | str


class _Parameters(BaseModel):
    """`parameters` as documented by TGI, LMI's common ones, and vLLM's sampling parameters LMI lists."""

    model_config = ConfigDict(extra="forbid", strict=True)

    max_new_tokens: Count | None = None
    do_sample: bool = False
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    stop: list[str] | str | None = None
    stop_sequences: list[str] | str | None = None
    details: bool = False
    decoder_input_details: bool = False
    top_n_tokens: Annotated[int, Field(ge=0)] | None = None
    return_full_text: bool = False
    truncate: Count | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    length_penalty: float | None = None
    grammar: _Grammar | None = None
    n: Count = 1
    best_of: Count = 1
    num_beams: Count = 1
    ignore_eos_token: bool = False
    ignore_eos: bool = False
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool | None = None
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool | None = None
    logit_bias: dict[str, float] | None = None
    bad_words: list[str] | None = None
    cache_salt: str | None = None
    watermark: Literal[False] | None = None
    typical_p: Annotated[float, Field(ge=1, le=1)] | None = None


@dataclass(frozen=True, slots=True)
class TgiRequest:
    """One LMI/TGI request: what goes to `/v1/completions`, and how its answer is to be told."""

    completion: dict[str, Any]
    inputs: tuple[str, ...]
    batch: bool
    """The caller sent a list, and gets one."""
    stream: bool
    details: bool
    return_full_text: bool
    top_n_tokens: int
    seed: int | None
    sequences: int
    """Candidates generated per input, of which the likeliest is the answer."""


def parse(payload: dict[str, Any], default_max_new_tokens: int) -> TgiRequest:
    """Translate a body; raise RequestError (400) naming the field that is wrong and what it takes."""
    inputs = payload.get("inputs")
    batch = isinstance(inputs, list)
    prompts: list[Any] = inputs if isinstance(inputs, list) else [inputs]
    if not prompts or not all(isinstance(prompt, str) for prompt in prompts):
        raise RequestError(400, "inputs must be a string or a list of strings.", "inputs")
    stream = payload.get("stream") or False
    if not isinstance(stream, bool):
        raise RequestError(400, "stream must be true or false.", "stream")
    given = _parameters(payload.get("parameters"))
    sequences = max(given.n, given.best_of, given.num_beams)
    if stream and (sequences > 1 or given.decoder_input_details):
        name = "decoder_input_details" if given.decoder_input_details else "n, best_of or num_beams above 1"
        raise RequestError(400, f"parameters: {name} cannot be used with stream=true.", "parameters")
    completion = _completion(given, default_max_new_tokens, sequences, stream)
    same = {"model": payload.get("model"), "prompt": prompts, "cache_salt": _cache_salt(payload, given)}
    return TgiRequest(
        completion={**same, **completion},
        inputs=tuple(prompts),
        batch=batch,
        stream=stream,
        details=given.details,
        return_full_text=given.return_full_text,
        top_n_tokens=given.top_n_tokens or 0,
        seed=given.seed,
        sequences=sequences,
    )


def _parameters(raw: Any) -> _Parameters:
    if raw is not None and not isinstance(raw, dict):
        raise RequestError(400, "parameters must be an object.", "parameters")
    try:
        return _Parameters.model_validate(raw or {})
    except ValidationError as error:
        raise _explained(error) from error


def _cache_salt(payload: dict[str, Any], given: _Parameters) -> str | None:
    """Return the salt, hashed; it may stand beside `inputs`, as in other bodies, or among LMI's parameters."""
    beside: str | None = payload.get("cache_salt")  # hashed with the body
    if given.cache_salt is None:
        return beside
    if beside is not None:
        raise RequestError(400, "cache_salt is given twice; keep the one in the body or the one in parameters.")
    return salts.hashed(given.cache_salt, "parameters.cache_salt")


def _explained(error: ValidationError) -> RequestError:
    """Tell the first mistake as `parameters.top_p: ...`, with the nearest name for an unknown one."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        near = difflib.get_close_matches(name, _Parameters.model_fields, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return RequestError(400, f"parameters.{name[:64]} is not a parameter of this server.{hint}", "parameters")
    if name in ("watermark", "typical_p"):
        return RequestError(400, f"parameters.{name} is not supported by the engine; remove it.", f"parameters.{name}")
    path = ".".join(str(part) for part in first["loc"])
    return RequestError(400, f"parameters.{path}: {first['msg']}.", f"parameters.{name}")


def _completion(given: _Parameters, default_max_new_tokens: int, sequences: int, stream: bool) -> dict[str, Any]:
    wanted = given.model_dump(include=set(_SAME_NAME), exclude_none=True)
    if given.do_sample:
        wanted |= given.model_dump(include=set(_SAMPLING), exclude_none=True)
    else:
        wanted["temperature"] = 0.0
    wanted["max_tokens"] = given.max_new_tokens or default_max_new_tokens
    wanted["stop"] = _stop(given)
    wanted["ignore_eos"] = given.ignore_eos or given.ignore_eos_token
    if given.truncate is not None:
        wanted |= {"truncate_prompt_tokens": given.truncate, "truncation_side": "left"}
    if given.grammar is not None:
        wanted["structured_outputs"] = {given.grammar.type: given.grammar.value}
    if sequences > 1:
        wanted["n"] = sequences
    if given.num_beams > 1:
        wanted["use_beam_search"] = True
    return wanted | _details_wanted(given, sequences, stream)


def _details_wanted(given: _Parameters, sequences: int, stream: bool) -> dict[str, Any]:
    """Return what makes the engine tell its tokens, where the answer shows them or has to rank sequences by them."""
    wanted: dict[str, Any] = {}
    if stream or given.details or sequences > 1:
        # logprobs=0 is the sampled token's own; ids come as ids because several ids may share one text.
        wanted |= {"logprobs": given.top_n_tokens or 0, "return_tokens_as_token_ids": True, "return_token_ids": True}
    if given.details and given.decoder_input_details:
        wanted["prompt_logprobs"] = 0
    if stream:
        wanted["stream"] = True
    return wanted


def _stop(given: _Parameters) -> list[str]:
    both: list[str] = []
    for stop in (given.stop, given.stop_sequences):
        both += [stop] if isinstance(stop, str) else stop or []
    return both
