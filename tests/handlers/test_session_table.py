"""The life of sessions against the simplest account of it, with the clock in the test's hand."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from handlers.sessions.table import Session, SessionTable

LIFETIME, LIMIT = 10.0, 3
NAMES = st.integers(0, 8).map(str)


class Life(RuleBasedStateMachine):
    """Remembers every session ever opened, and works out from that alone which of them are alive."""

    @initialize(sliding=st.booleans())
    def begin(self, sliding: bool) -> None:
        self.now = 0.0
        self.sliding = sliding
        self.table = SessionTable(LIFETIME, LIMIT, sliding=sliding)
        self.alive: list[Session] = []

    def expected(self) -> list[str]:
        return [session.id for session in self.alive if self.now < session.expires_at]

    def drop_expired(self) -> list[str]:
        gone = [session.id for session in self.alive if self.now >= session.expires_at]
        self.alive = [session for session in self.alive if session.id not in gone]
        return gone

    @rule(seconds=st.floats(0, 8))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(name=NAMES)
    def open(self, name: str) -> None:
        if self.table.get(name):
            return
        session, ended = self.table.open(name, self.now)
        gone = self.drop_expired() if len(self.alive) >= LIMIT else []
        self.alive.append(session)
        while len(self.alive) > LIMIT:
            gone.append(self.alive.pop(0).id)
        assert session.expires_at == self.now + LIFETIME
        assert sorted(ended) == sorted(gone)

    @rule(name=NAMES)
    def use(self, name: str) -> None:
        standing = self.table.use(name, self.now)
        assert (standing == "alive") == (name in self.expected())
        if standing == "alive":
            session = next(session for session in self.alive if session.id == name)
            self.alive.remove(session)
            later = self.now + LIFETIME if self.sliding else session.expires_at
            self.alive.append(replace(session, expires_at=later, used_at=self.now))

    @rule(name=NAMES)
    def close(self, name: str) -> None:
        self.table.close(name)
        self.alive = [session for session in self.alive if session.id != name]

    @rule()
    def sweep(self) -> None:
        assert sorted(self.table.expire(self.now)) == sorted(self.drop_expired())

    @rule()
    def restart(self) -> None:
        self.table = SessionTable(LIFETIME, LIMIT, sliding=self.sliding)
        self.alive.reverse()
        ended = self.table.restore(self.alive, self.now)
        assert sorted(ended) == sorted(self.drop_expired())
        self.alive.sort(key=lambda session: session.used_at)

    @invariant()
    def the_table_agrees(self) -> None:
        if hasattr(self, "table"):
            names = [str(number) for number in range(9)]
            assert [n for n in names if self.table.standing(n, self.now) == "alive"] == sorted(self.expected())
            assert len(self.table) <= LIMIT


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.lists(st.floats(0, 100), unique=True, max_size=12))
def test_a_restart_under_a_lower_limit_keeps_the_sessions_used_last(used: list[float]) -> None:
    table = SessionTable(1000, LIMIT, sliding=False)
    ended = table.restore([Session(str(at), 1000, at) for at in used], now=100)
    assert sorted(ended) == sorted(str(at) for at in sorted(used)[:-LIMIT])


def test_how_the_latest_sessions_ended_is_known_of_as_many_as_may_be_alive() -> None:
    table = SessionTable(LIFETIME, LIMIT, sliding=False)
    for name in ("closed", "crowded out", "a", "b", "c"):
        table.open(name, 0)
        table.close("closed")
    assert [table.standing(name, 1) for name in ("closed", "crowded out", "a", "d")] == [
        "closed", "crowded out", "alive", "unknown",
    ]  # fmt: skip
    table.expire(LIFETIME)
    assert [table.standing(name, 1) for name in ("closed", "crowded out", "a", "c")] == [
        "unknown", "unknown", "expired", "expired",
    ]  # fmt: skip
    assert table.open("a", LIFETIME)[0].id == "a"
    assert table.standing("a", LIFETIME) == "alive"
