"""vLLM's list of models with every adapter that can be asked for, and without the engine's names and paths."""

import orjson

from handlers.adapters.registry import Adapters
from handlers.streams import StreamFormat


class ModelList:
    """A Rewrite of the reply to `GET /v1/models`: the base model's cards, then one for each adapter."""

    format: StreamFormat = "sse"

    def __init__(self, adapters: Adapters) -> None:
        self._adapters = adapters

    def whole(self, body: bytes) -> bytes:
        """Replace vLLM's cards of loaded adapters; the base model's serve as the pattern of their fields."""
        found = orjson.loads(body)
        cards = [card for card in found["data"] if not card.get("parent")]
        for adapter in self._adapters.page()[0]:
            if adapter.state != "failed":
                cards.append({**cards[0], "id": adapter.name, "root": adapter.name, "parent": cards[0]["id"]})
        return orjson.dumps({**found, "data": cards})

    def event(self, data: bytes) -> bytes:
        """Leave events as they are; there are none."""
        return data
