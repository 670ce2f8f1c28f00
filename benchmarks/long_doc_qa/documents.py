"""Makes documents of exactly so many tokens out of random words, and the requests that ask about them.

As LMCache's long_doc_qa.py does, a document is asked about with the same whole prompt in both rounds.
"""

import random
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.load import Body
from benchmarks.tiny_model import WORDS

QUESTION = " What is this document about, and what does it say first?"
PRE_WARM_UP_PROMPTS, PRE_WARM_UP_TOKENS = 5, 1000


@dataclass(frozen=True, slots=True)
class Workload:
    """What is sent to every server, the same for the same seed."""

    documents: int = 46
    tokens: int = 4000
    """Of a prompt: the document with the question at its end."""
    output_tokens: int = 32
    concurrency: int = 4
    seed: int = 0

    @property
    def context(self) -> int:
        """The longest sequence there is."""
        return self.tokens + self.output_tokens

    @property
    def working_set(self) -> int:
        """The tokens that a cache has to hold to answer every question from it."""
        return self.documents * self.tokens

    def __str__(self) -> str:
        """Say it in a sentence."""
        return (
            f"{self.documents} documents of {self.tokens:,} tokens, {self.concurrency} in flight, "
            f"answers of {self.output_tokens} tokens, seed {self.seed}"
        )

    def query_order(self) -> list[int]:
        """Shuffle the documents for the query round, as LMCache's repeat mode `random` does."""
        return random.Random(f"order {self.seed}").sample(range(self.documents), self.documents)


Prompt = tuple[int, ...]


def tokenizer_of(model: Path) -> Tokenizer:
    """Read a model's tokenizer."""
    return Tokenizer.from_file(str(model / "tokenizer.json"))


def prompts(work: Workload, tokenizer: Tokenizer) -> list[Prompt]:
    """Make every document's prompt as token ids, so that its length is exact for any tokenizer."""
    return [_prompt(tokenizer, f"{number} ", work.tokens, f"{work.seed} {number}") for number in range(work.documents)]


def pre_warm_up(work: Workload, tokenizer: Tokenizer) -> list[Prompt]:
    """Make the short prompts that take the cost of a first request out of the rounds."""
    length = min(PRE_WARM_UP_TOKENS, work.tokens)
    return [
        _prompt(tokenizer, f"pre-warm-up {number} ", length, f"pre-warm-up {work.seed} {number}")
        for number in range(PRE_WARM_UP_PROMPTS)
    ]


def _prompt(tokenizer: Tokenizer, start: str, length: int, seed: str) -> Prompt:
    """Begin with what no other prompt begins with: prefixes are what is shared."""
    question: list[int] = tokenizer.encode(QUESTION, add_special_tokens=False).ids
    words = " ".join(random.Random(seed).choices(WORDS, k=length))
    document: list[int] = tokenizer.encode(start + words, add_special_tokens=False).ids
    if length <= len(question):
        raise ValueError(f"a prompt of {length} tokens has no room for a question of {len(question)}")
    return (*document[: length - len(question)], *question)


def body(model_name: str, prompt: Prompt, work: Workload) -> Body:
    """Ask for greedy tokens, and for the runner-up of each, by their ids."""
    return {
        "model": model_name,
        "prompt": list(prompt),
        "max_tokens": work.output_tokens,
        "ignore_eos": True,
        "temperature": 0,
        "logprobs": 2,
        "return_tokens_as_token_ids": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
