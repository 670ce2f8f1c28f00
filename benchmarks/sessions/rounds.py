"""One round: conversations begin, other traffic floods the cache, and each conversation takes its next turn.

Rounds with and without sessions send the very same tokens; a cache salt of its own keeps each from another's entries.
"""

import asyncio
import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPMessage

from tokenizers import Tokenizer

from benchmarks.load import LoadError, send_all
from benchmarks.long_doc_qa.answers import Answer, read
from benchmarks.long_doc_qa.documents import Prompt, Workload, body, prompts

NEXT_QUESTION = " And what does it say after that, and last of all?"
PATH = "/v1/completions"
HEADER, NEW_HEADER = "X-Amzn-SageMaker-Session-Id", "X-Amzn-SageMaker-New-Session-Id"


@dataclass(frozen=True, slots=True)
class Work:
    """What one round sends."""

    conversations: Workload
    flood: Workload
    histories: Sequence[Prompt]
    others: Sequence[Prompt]
    question: Prompt

    @property
    def context(self) -> int:
        """The longest sequence there is: two turns, with their answers."""
        return self.conversations.tokens + len(self.question) + 2 * self.conversations.output_tokens

    @classmethod
    def of(cls, conversations: Workload, flood: Workload, tokenizer: Tokenizer) -> "Work":
        """Make the texts."""
        question = tokenizer.encode(NEXT_QUESTION, add_special_tokens=False).ids
        return cls(conversations, flood, prompts(conversations, tokenizer), prompts(flood, tokenizer), tuple(question))


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one round."""

    pair: int
    """Rounds of one pair send the same, one with sessions and one without."""
    sessions: bool
    first: tuple[Answer, ...]
    flood: tuple[Answer, ...]
    flood_seconds: float
    next: tuple[Answer, ...]

    @property
    def answers(self) -> tuple[Answer, ...]:
        """All of them."""
        return self.first + self.flood + self.next


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a round: where to, what, and under which salt."""

    base_url: str
    model: str
    work: Work
    salt: str

    def ask(self, number: int, prompt: Prompt, session: str) -> Answer:
        """Take one turn of one conversation, alone."""
        asked = body(self.model, prompt, self.work.conversations) | {"cache_salt": self.salt}
        exchange = asyncio.run(send_all(self.base_url + PATH, [asked], 1, {HEADER: session} if session else None))
        return read(exchange.received[0], number, exchange.started)

    def flood(self) -> tuple[tuple[Answer, ...], float]:
        """Send the other traffic; return its answers, and how long it took."""
        work = self.work.flood
        bodies = [body(self.model, prompt, work) | {"cache_salt": self.salt} for prompt in self.work.others]
        exchange = asyncio.run(send_all(self.base_url + PATH, bodies, work.concurrency))
        answers = [read(one, one.number, exchange.started) for one in exchange.received]
        return tuple(sorted(answers, key=lambda answer: answer.document)), exchange.seconds


def measure(base_url: str, model: str, work: Work, pair: int, *, sessions: bool) -> Round:
    """Run one round; what it opened is closed at its end."""
    caller = Caller(base_url, model, work, f"pair {pair}, {'sessions' if sessions else 'none'}")
    names = [_open(base_url) if sessions else "" for _ in work.histories]
    begun = zip(work.histories, names, strict=True)
    first = [caller.ask(number, history, name) for number, (history, name) in enumerate(begun)]
    flood, seconds = caller.flood()
    answered = zip(work.histories, first, strict=True)
    longer = [(*history, *token_ids(answer), *work.question) for history, answer in answered]
    nexts = [caller.ask(number, prompt, name) for number, (prompt, name) in enumerate(zip(longer, names, strict=True))]
    for name in filter(None, names):
        _manage(base_url, "CLOSE", name)
    return Round(pair, sessions, tuple(first), flood, seconds, tuple(nexts))


def token_ids(answer: Answer) -> Prompt:
    """Return what an answer said; vLLM names tokens `token_id:N` where asked to."""
    return tuple(int(token.removeprefix("token_id:")) for token in answer.tokens)


def _open(base_url: str) -> str:
    told = _manage(base_url, "NEW_SESSION", "").get(NEW_HEADER, "")
    if not told:
        raise LoadError(f"a new session came without {NEW_HEADER}")
    return told.partition(";")[0]


def _manage(base_url: str, kind: str, session: str) -> HTTPMessage:
    headers = {"Content-Type": "application/json"} | ({HEADER: session} if session else {})
    request = urllib.request.Request(f"{base_url}/invocations", json.dumps({"requestType": kind}).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            told: HTTPMessage = response.headers
            return told
    except OSError as error:
        raise LoadError(f"{kind} was not answered: {error}") from None
