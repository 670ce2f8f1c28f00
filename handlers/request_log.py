"""One line per inference request: what, how it ended, how long, and the caller's name for it. Never its content."""

import logging

from handlers.exchange import Exchange

_WORD = 100
"""Characters of a field; SageMaker's own limit for InferenceId is 64."""
logger = logging.getLogger("lmi.requests")


class RequestLog:
    """The request log, or silence where `option.log_requests` is off."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled

    def write(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Log one finished exchange, with the reason where it ended early."""
        if self._enabled:
            early = f" ended={exchange.ended.replace(' ', '-')}" if exchange.ended else ""
            path, name = _word(exchange.path), _word(exchange.inference_id) or "-"
            logger.info("%s %s %d %.3fs id=%s%s", exchange.method, path, status, seconds, name, early)


def _word(text: str) -> str:
    """Make what a caller sent fit for one field of a log line."""
    text = text[:_WORD]
    if text.isascii() and text.isprintable() and " " not in text and '"' not in text:
        return text
    return "".join(c if c.isprintable() and c not in '" ' else "?" for c in text)
