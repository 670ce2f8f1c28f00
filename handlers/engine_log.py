"""Keeps what vLLM says of single requests out of the log: it repeats callers' text, and their mistakes are theirs."""

import logging

# Modules on the path of a request (vLLM 0.32); what they warn of is in the reply, or of interest to its caller alone.
_REQUEST_PATH = ("vllm.entrypoints", "vllm.parser", "vllm.reasoning", "vllm.renderers", "vllm.sampling_params",
                 "vllm.tool_parsers", "vllm.tokenizers")  # fmt: skip


class RequestTalk(logging.Filter):
    """Drops warnings of the request path and callers' mistakes; says an engine's death without a traceback."""

    def __init__(self, mistakes: tuple[type[Exception], ...], deaths: tuple[type[Exception], ...]) -> None:
        super().__init__()
        self._mistakes = mistakes
        self._deaths = deaths

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is for the operator."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, self._mistakes):
            return False
        if isinstance(error, self._deaths):
            record.exc_info = None
        return record.levelno > logging.WARNING or not record.name.startswith(_REQUEST_PATH)
