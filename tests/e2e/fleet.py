"""Adapters amid traffic that come, go and change, and whether each answer is one its adapter could give just then."""

import threading
from pathlib import Path

from tests.e2e.adapter_calls import IDENTIFIER, Answer, ask, completion, read, registered, remove
from tests.e2e.adapters import write_adapter
from tests.e2e.client import Client
from tests.timing import eventually

ANSWERS_BETWEEN = 12
"""Between two changes."""


class Fleet:
    """So many adapters, and as many more as there will be changes."""

    def __init__(self, api: Client, yard: Path, size: int, changes: int) -> None:
        self.api = api
        self.near = self.answered = self.gone = 0
        self._lock = threading.Lock()
        self._history: dict[str, list[set[str]]] = {}
        self._unused = [write_adapter(yard / f"version-{n}", 500 + n) for n in range(size + changes)]
        self.versions = {path.name: self._alone(path) for path in self._unused}
        for number in range(size):
            self.change(f"fleet-{number}")

    @property
    def names(self) -> list[str]:
        """Every name there has been."""
        return list(self._history)

    def change(self, name: str, by: str = "register") -> None:
        """Register a name with an adapter of its own, or give it another one."""
        path = self._unused.pop()
        now = self._history.setdefault(name, [{"404"}])[-1]
        self._allow(name, now | {path.name})
        if by == "delete":
            self._allow(name, now | {path.name, "404"})
            assert remove(self.api, name).status_code == 200
        at = f"/adapters/{name}/update" if by == "update" else "/adapters"
        response = self.api.http.post(at, params={"name": name, "src": str(path)})
        assert response.status_code == 200, response.text
        self._allow(name, {path.name})

    def delete(self, name: str) -> None:
        """Remove a name; later it may come back."""
        self._allow(name, self._history[name][-1] | {"404"})
        assert remove(self.api, name).status_code == 200
        self._allow(name, {"404"})

    def serve(self) -> None:
        """Wait until some more requests have been answered."""
        enough = self.answered + ANSWERS_BETWEEN
        eventually(lambda: self.answered >= enough, "more answers")

    def check(self, name: str) -> None:
        """Ask for a name and see that the answer is one it could give meanwhile, and nobody else's."""
        began = len(self._history[name]) - 1
        response = self.api.invoke(completion(stream=True), {IDENTIFIER: name})
        with self._lock:
            allowed = set().union(*self._history[name][began:])
            if response.status_code == 404:
                assert "404" in allowed, response.text
                self.gone += 1
                return
            assert response.status_code == 200, response.text
            self._count(read(response), allowed - {"404"})

    def _count(self, answer: Answer, allowed: set[str]) -> None:
        like = {version: answer.likeness(solo) for version, solo in self.versions.items()}
        found = {like[version] for version in allowed}
        assert found & {"equal", "near"}, (answer, allowed)
        assert not [version for version in like.keys() - allowed if like[version] == "equal"], (answer, allowed)
        self.answered += 1
        self.near += "equal" not in found

    def _alone(self, path: Path) -> Answer:
        """Return what an adapter answers when nobody else is there."""
        with registered(self.api, solo=path):
            return ask(self.api, "solo")

    def _allow(self, name: str, outcomes: set[str]) -> None:
        with self._lock:
            self._history[name].append(outcomes)
