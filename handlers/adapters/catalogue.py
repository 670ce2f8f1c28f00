"""The adapters there are, by name, with what may be called what and how many may be pinned."""

from autoconfig.lora import names
from handlers.adapters.registration import Adapter, Registration
from handlers.errors import RequestError


class Catalogue:
    """What is registered, and what is still being removed."""

    def __init__(self, model_names: tuple[str, ...], slots: int) -> None:
        self._model_names = frozenset(model_names)
        self._slots = slots
        self._known: dict[str, Registration] = {}
        self._draining: dict[str, Adapter] = {}

    def __len__(self) -> int:
        return len(self._known)

    @property
    def failed(self) -> int:
        """How many could not be loaded, and will not be until something changes."""
        return sum(bool(each.failure) for each in self._known.values())

    def get(self, name: str) -> Registration | None:
        """Return what a name stands for."""
        return self._known.get(name)

    def find(self, name: str) -> Registration:
        """Return what a name stands for; raise RequestError (404) for nothing, and tell of no other name."""
        registration = self._known.get(name)
        if registration is None:
            raise RequestError(404, f"The adapter `{name[:100]}` does not exist.")
        return registration

    def put(self, registration: Registration) -> Registration:
        """Let a name stand for a registration from now on."""
        self._known[registration.name] = registration
        return registration

    def remove(self, name: str) -> None:
        """Let a name stand for nothing."""
        del self._known[name]

    def drains(self, adapter: Adapter) -> None:
        """Note that an adapter is being removed."""
        self._draining[adapter.name] = adapter

    def drained(self, adapter: Adapter) -> None:
        """Note that it is gone."""
        if self._draining.get(adapter.name) is adapter:
            del self._draining[adapter.name]

    def describe(self, name: str) -> Adapter:
        """Return what is known of an adapter, or of one that is being removed; raise RequestError (404)."""
        if name not in self._known and name in self._draining:
            return self._draining[name]
        return self.find(name).told()

    def page(self, after: str, limit: int | None) -> tuple[list[Adapter], bool]:
        """Return adapters in the order of their names, from behind a name on, and whether there are more."""
        rest = sorted(name for name in self._known if name > after)
        shown = rest[:limit]
        return [self._known[name].told() for name in shown], len(shown) < len(rest)

    def check_name(self, name: str) -> None:
        """Refuse (400) what cannot be an adapter's name."""
        check_text(name, "name", 1)
        if name in self._model_names:
            raise RequestError(400, f"`{name[:100]}` is the name of the base model.", "name")

    def check_pins(self, registration: Registration) -> None:
        """Refuse (507) one pin more than leaves the engine a slot for all that are not pinned."""
        pins = sum(each.pin for each in self._known.values() if each.name != registration.name)
        if registration.pin and pins >= self._slots - 1:
            most = f"at most {self._slots - 1} with option.max_loras={self._slots}"
            raise RequestError(507, f"{pins} adapters are pinned, of {most}; raise it.", "pin")


def check_text(text: str, param: str, shortest: int = 0) -> None:
    """Refuse (400) a name or an alias that is too long, or would break a line of a log."""
    if len(text) < shortest or not names.fits(text):
        told = f"{param} must be {shortest} to {names.MAX_LENGTH} characters, without control characters."
        raise RequestError(400, told, param)
