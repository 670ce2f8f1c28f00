"""Values nobody should send, and the fields of vLLM's requests to put them into: what the fuzzing tests draw from."""

from typing import Any

from hypothesis import strategies as st

VOCABULARY = 768
INTEGERS = (-1, 0, 1, 2, -2, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1, 10**6, 10**30)
FLOATS = (0.5, -0.5, 1.0, 1e38, 1e39, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"))
TEXTS = (
    "",
    "x",
    " ",
    "1",
    "true",
    "é😀",
    "\x00",
    "\n",
    "\ud800",
    "\udfff\ud800",
    "<|end|>",
    "<|im_start|>",
    "../../x",
)

ANY_FIELD = (
    "model", "n", "best_of", "seed", "stop", "stream", "stream_options", "temperature", "top_p", "top_k", "min_p",
    "repetition_penalty", "frequency_penalty", "presence_penalty", "length_penalty", "logit_bias", "logprobs",
    "max_tokens", "min_tokens", "stop_token_ids", "allowed_token_ids", "logprob_token_ids", "bad_words", "ignore_eos",
    "include_stop_str_in_output", "skip_special_tokens", "spaces_between_special_tokens", "truncate_prompt_tokens",
    "truncation_side", "prompt_logprobs", "structured_outputs", "response_format", "priority", "request_id",
    "session_id", "return_tokens_as_token_ids", "return_token_ids", "return_token_offsets",
    "routed_experts_prompt_start",
    "cache_salt", "kv_transfer_params", "ec_transfer_params", "vllm_xargs", "repetition_detection", "stream_interval",
    "thinking_token_budget", "use_beam_search", "watermarking", "user", "add_special_tokens", "echo", "mm_payload",
)  # fmt: skip
CHAT_FIELDS = (
    "messages", "top_logprobs", "max_completion_tokens", "tools", "tool_choice", "parallel_tool_calls", "documents",
    "reasoning_effort", "include_reasoning", "add_generation_prompt", "continue_final_message", "chat_template",
    "chat_template_kwargs", "media_io_kwargs", "mm_processor_kwargs", "return_prompt_text",
)  # fmt: skip
COMPLETION_FIELDS = ("prompt", "suffix", "prompt_embeds")
TGI_FIELDS = (
    "max_new_tokens", "do_sample", "temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "stop", "n",
    "best_of",
    "stop_sequences", "details", "decoder_input_details", "top_n_tokens", "return_full_text", "truncate", "watermark",
    "repetition_penalty", "frequency_penalty", "grammar", "ignore_eos_token", "logit_bias", "bad_words", "num_beams",
    "stop_token_ids", "min_tokens", "length_penalty", "skip_special_tokens", "adapter_id", "unheard_of",
)  # fmt: skip
RESPONSES_FIELDS = (
    "input", "instructions", "max_output_tokens", "max_tool_calls", "tools", "tool_choice", "text", "reasoning",
    "store", "previous_response_id", "background", "truncation", "include", "metadata", "top_logprobs", "temperature",
    "top_p", "top_k", "stream", "prompt", "service_tier", "model", "user", "request_id", "cache_salt", "priority",
    "logit_bias",
)  # fmt: skip
MESSAGES_FIELDS = (
    "messages", "max_tokens", "metadata", "stop_sequences", "stream", "system", "temperature", "tools", "tool_choice",
    "top_k", "top_p", "model", "thinking",
)  # fmt: skip

SCHEMAS: tuple[Any, ...] = (
    {}, True, [], None, "x", {"type": "x"}, {"$ref": "#"}, {"$ref": "file:///etc/passwd"}, {"enum": []}, {"anyOf": []},
    {"type": "array", "minItems": 10**9}, {"type": "string", "minLength": 10**9}, {"type": "string", "pattern": "("},
    {"type": "string", "pattern": "a{1000000000}"}, {"type": "integer", "minimum": 10**30}, {"properties": 1},
    {"type": "object", "minProperties": 10**9}, {"const": "\x00"},
    {"$defs": {"x": {"$ref": "#/$defs/x"}}, "$ref": "#/$defs/x"},
)  # fmt: skip
PATTERNS = (
    "(",
    "a{1000000000}",
    "(a+)+$",
    "\\",
    "[z-a]",
    "(?<=a)b",
    "\\1(a)",
    "",
    "a**",
    "\x00",
    "\\p{L}",
    ".*",
    "(" * 3000,
)
GRAMMARS = (
    "", "x", "root ::= ", "root ::= root", 'root ::= "a" root | root', "root ::= [", 'root ::= "a"{1000000000}',
    "start: x", "root ::= ((((((((", 'root ::= ""',
)  # fmt: skip
SHAPED: dict[str, tuple[Any, ...]] = {
    "logit_bias": ({"0": 1e308}, {"-1": 1}, {str(VOCABULARY): 1}, {"9" * 30: 1}, {"x": 1}, {"0": None}, {"1.5": 1},
                   {str(n): -100 for n in range(VOCABULARY)}),
    "response_format": tuple({"type": "json_schema", "json_schema": {"name": "a", "schema": s}} for s in SCHEMAS)
    + tuple({"type": kind} for kind in ("text", "json_object", "json_schema", "structural_tag", "x", None)),
    "structured_outputs": tuple({"json": s} for s in SCHEMAS) + tuple({"regex": p} for p in PATTERNS)
    + tuple({"grammar": g} for g in GRAMMARS)
    + tuple({"choice": c} for c in ([], [""], ["a"] * 10_000, "abc", [1], ["\x00"], ["a", "b"]))
    + ({"structural_tag": '{"type":"structural_tag","format":{"type":"any_text"}}'}, {"json_object": True}, {},
       {"structural_tag": "{}"}, {"regex": "a", "choice": ["b"]}),
    "grammar": tuple({"type": "json", "value": s} for s in SCHEMAS)
    + tuple({"type": "regex", "value": p} for p in PATTERNS),
    "tools": (*([{"type": "function", "function": {"name": "f", "parameters": s}}] for s in SCHEMAS),
              [{"type": "x"}], [{"type": "function"}]),
    "tool_choice": ("auto", "required", {"type": "function", "function": {"name": "g"}}),
    "kv_transfer_params": ({"do_remote_prefill": True, "remote_engine_id": "x", "remote_block_ids": [1]},),
    "vllm_xargs": ({"kv_transfer_params": "x"}, {"a": [1, "x"]}, {"a": None}, {"a": 10**30}),
    "repetition_detection": ({"max_pattern_size": 0, "min_pattern_size": 0, "min_count": 0},
                             {"max_pattern_size": 2**63, "min_pattern_size": 1, "min_count": 2}),
    "stream_options": ({"include_usage": True}, {"include_usage": "x"}, {"continuous_usage_stats": True}),
    "chat_template": ("{{", "{% for x in range(10**9) %}a{% endfor %}", "{{ 1/0 }}"),
    "prompt": ([VOCABULARY], [-1], [2**63], [], [[]], [[], [1]], ["a"] * 100, ["a", 1], "a" * 300_000, [0] * 20_000),
    "messages": ([], [None], [{}], [{"role": "user"}], [{"role": 1, "content": "x"}],
                 [{"role": "user", "content": [{}]}],
                 [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/"}}]}],
                 [{"role": "assistant", "content": None, "tool_calls": 1}],
                 [{"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}]}],
                 [{"role": "tool", "content": "x", "tool_call_id": 1}]),
}  # fmt: skip
for _name in ("stop_token_ids", "allowed_token_ids", "logprob_token_ids", "tokens"):
    SHAPED[_name] = ([VOCABULARY], [-1], [2**31], [2**63], list(range(VOCABULARY)), [0] * 2000, ["1"], [True], [1.5])
for _name in ("stop", "stop_sequences", "bad_words"):
    SHAPED[_name] = ([""], ["\x00"], ["a"] * 1000, ["A" * 100_000], ["\ud800"], [1], [None])

SCALARS = st.sampled_from((None, True, False, *INTEGERS, *FLOATS, *TEXTS, "A" * 5000))
ODD = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.sampled_from(("a", "type", "0", "")), SCALARS, max_size=2),
    st.recursive(st.sampled_from(({}, [])), lambda inner: st.lists(inner, min_size=1, max_size=2), max_leaves=6),
)


def value_of(field: str) -> st.SearchStrategy[Any]:
    """Return a strategy for one field: values of its own shape more often than anything at all."""
    shaped = SHAPED.get(field)
    return st.one_of(st.sampled_from(shaped), ODD) if shaped else ODD


def fields(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for one to three of these fields with odd values."""
    one = st.sampled_from(names).flatmap(lambda name: st.tuples(st.just(name), value_of(name)))
    return st.lists(one, min_size=1, max_size=3).map(dict)
