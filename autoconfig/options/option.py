"""What is known about one option: its names in every source, its type, and what it means here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autoconfig.kinds import EXPECTED, FORMS, Kind


@dataclass(frozen=True, slots=True)
class Spelling:
    """A name outside `option.*` under which an option may be given, and how its text reads as the option's own."""

    name: str
    reading: Callable[[str], str] = field(default=str.strip)


def _always(_value: Any) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Option:
    """One option: `option.<name>`, `OPTION_<NAME>`, and whatever other names are listed here.

    It has an effect, or it is accepted and has none (`note` says why), or it stops the start (`refused` says what to do
    instead) with every value that `refused_when` picks.
    """

    name: str
    help: str
    kind: Kind = Kind.TEXT
    default: Any = None
    group: str = ""
    choices: tuple[Any, ...] = ()
    words: tuple[str, ...] = ()
    """Words taken besides values of the kind, such as `max`."""
    spelled: Mapping[str, str] = field(default_factory=dict)
    """Other ways to write a value: fp16 -> float16."""
    minimum: float | None = None
    maximum: float | None = None
    optional: bool = False
    """`None` may be given, and means none."""
    aliases: tuple[str, ...] = ()
    """Other names under `option.`, such as vLLM's own name for an LMI option."""
    engine: str = ""
    """The vLLM argument it becomes."""
    engine_default: Any = None
    """What vLLM takes when it is not given; shown, never passed."""
    environment: tuple[Spelling, ...] = ()
    """Variables that name it below `OPTION_*`."""
    fallback: tuple[Spelling, ...] = ()
    """Variables that count only where nothing else, the model directory included, says anything."""
    overrides: tuple[Spelling, ...] = ()
    """`SAGEMAKER_*` variables: above everything else, the first that is set wins."""
    server_keys: tuple[Spelling, ...] = ()
    """DJL Serving's own key: unprefixed in serving.properties, `SERVING_<KEY>` in the environment."""
    prefixed: bool = True
    """Whether `option.<name>` and `OPTION_<NAME>` reach it."""
    secret: bool = False
    note: str = ""
    in_front: bool = False
    """Whether DJL Serving obeys it where it is in front: the note is then void, and the value handed on."""
    refused: str = ""
    refused_when: Callable[[Any], bool] = field(default=_always)

    @property
    def names(self) -> tuple[str, ...]:
        """All names under `option.`; the first is the one shown."""
        return (self.name, *self.aliases) if self.prefixed else ()

    @property
    def always_refused(self) -> bool:
        """Whether every value stops the start."""
        return bool(self.refused) and self.refused_when is _always

    @property
    def label(self) -> str:
        """The name it is shown under: `option.dtype`, or a variable or server key where it is no `option.*`."""
        if self.prefixed:
            return f"option.{self.name}"
        return (*self.overrides, *self.environment, *self.server_keys)[0].name

    @property
    def expected(self) -> str:
        """What a value must be, in words: `a whole number of at least 1, or "max"`."""
        if self.choices:
            return "one of " + ", ".join(map(str, (*self.choices, *self.words)))
        words = "".join(f', or "{word}"' for word in self.words)
        return EXPECTED[self.kind] + self._bounds + FORMS.get(self.kind, "") + words

    @property
    def _bounds(self) -> str:
        if self.minimum is not None and self.maximum is not None:
            return f" from {self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f" of at least {self.minimum:g}"
        return "" if self.maximum is None else f" of at most {self.maximum:g}"
