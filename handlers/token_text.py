"""Token ids into one text per token, so that the texts joined are the text the engine produced.

A single id has no text of its own: a character may span several tokens, and a stop string cuts inside one.
"""

from collections import deque
from typing import Any

from tokenizers.decoders import DecodeStream


class TokenTexts:
    """Incremental texts of one generated sequence.

    `push` takes a step's ids with the text the engine released for them, and returns the tokens whose text is
    complete, in order. Where stop strings hold text back, tokens wait with it; `finish` releases the rest, cut to
    the engine's text. Without a fast tokenizer the last token of a step carries the step's text.
    """

    def __init__(self, tokenizer: Any, prompt_ids: list[int], skip_special_tokens: bool) -> None:
        self._tokenizer = tokenizer
        # Primed with the prompt as the engine's own detokenizer is (vLLM 0.32, v1/engine/detokenizer.py).
        self._stream = DecodeStream(ids=prompt_ids, skip_special_tokens=skip_special_tokens)
        self._waiting: deque[tuple[int, str]] = deque()
        self._released = ""

    def push(self, token_ids: list[int], text: str) -> list[tuple[int, str]]:
        """Return `(token id, text)` for each token whose text the engine has released."""
        if self._tokenizer is None:
            return [
                *((token_id, "") for token_id in token_ids[:-1]),
                *((token_id, text) for token_id in token_ids[-1:]),
            ]
        self._waiting.extend((token_id, self._decode(token_id)) for token_id in token_ids)
        self._released += text
        ready = []
        while self._waiting and self._released.startswith(self._waiting[0][1]):
            token_id, piece = self._waiting.popleft()
            self._released = self._released[len(piece) :]
            ready.append((token_id, piece))
        return ready

    def finish(self) -> list[tuple[int, str]]:
        """Return the tokens still waiting: the first takes what text is left, a stop string has cut the others."""
        rest, self._released = self._released, ""
        ready = [(token_id, "" if index else rest) for index, (token_id, _) in enumerate(self._waiting)]
        self._waiting.clear()
        return ready

    def _decode(self, token_id: int) -> str:
        try:
            return self._stream.step(self._tokenizer, token_id) or ""
        except Exception as error:  # the Rust decoder raises bare Exception on invalid prefixes
            if not str(error).startswith("Invalid prefix encountered"):
                raise
            self._stream = DecodeStream(skip_special_tokens=True)
            return self._stream.step(self._tokenizer, token_id) or ""
