"""Types of DJL's other backends, which scripts written for several import and derive from; vLLM's never makes one."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Token:
    """A generated token."""

    id: int
    text: str
    log_prob: float | None = None
    special_token: bool | None = None
    error_msg: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as DJL tells it."""
        told: dict[str, Any] = {"id": self.id, "text": self.text, "log_prob": self.log_prob}
        told |= {"special_token": self.special_token} if self.special_token else {}
        return told | ({"error_msg": self.error_msg} if self.error_msg else {})


@dataclass
class Sequence:
    """A generated sequence."""

    tokens: list[Token] = field(default_factory=list)
    cumulative_log_prob: float = 0.0
    finish_reason: str | None = None


@dataclass
class RequestInput:
    """A request."""

    request_id: int | None = None
    client_request_id: str | None = None
    output_formatter: Any = None
    parameters: dict[str, Any] = field(default_factory=dict)
    server_parameters: dict[str, Any] = field(default_factory=dict)
    tgi_compat: bool = False


@dataclass
class TextInput(RequestInput):
    """A request for text."""

    input_text: Any = None
    adapters: Any = None
    tokenizer: Any = None


@dataclass
class RequestOutput:
    """A reply."""

    request_id: int
    input: RequestInput
    finished: bool = False


@dataclass
class TextGenerationOutput(RequestOutput):
    """A reply of text."""

    sequences: dict[int, Sequence] = field(default_factory=dict)
    best_sequence_index: int = 0
    prompt_tokens_details: list[Token] = field(default_factory=list)
