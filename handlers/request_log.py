"""One line per request: what, by whom, how it ended, how long, its caller's name for it; never its content."""

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
        """Log one finished exchange, with its adapter where it had one, and the reason where it ended early."""
        if self._enabled:
            adapter = f" adapter={_word(exchange.adapter)}" if exchange.adapter else ""
            early = f" ended={exchange.ended.replace(' ', '-')}" if exchange.ended else ""
            path, name = _word(exchange.path), _word(exchange.inference_id) or "-"
            logger.info("%s %s %d %.3fs id=%s%s%s", exchange.method, path, status, seconds, name, adapter, early)


def _word(text: str) -> str:
    """Make what a caller sent fit for one field of a log line."""
    text = text[:_WORD]
    if text.isascii() and text.isprintable() and " " not in text and '"' not in text:
        return text
    return "".join(c if c.isprintable() and c not in '" ' else "?" for c in text)
