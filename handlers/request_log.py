"""One line per inference request: what, how it ended, how long, and the caller's name for it. Never its content."""

import logging

from handlers.exchange import Exchange

logger = logging.getLogger("lmi.requests")


class RequestLog:
    """The request log, or silence where `option.log_requests` is off."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled

    def write(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Log one finished exchange, with the reason where it ended early."""
        if self._enabled:
            early = f" ended={exchange.ended.replace(' ', '-')}" if exchange.ended else ""
            logger.info(
                "%s %s %d %.3fs id=%s%s",
                exchange.method, _printable(exchange.path), status, seconds, exchange.inference_id, early,
            )  # fmt: skip


def _printable(path: str) -> str:
    return "".join(c if c.isprintable() and c != " " else "?" for c in path[:100])
