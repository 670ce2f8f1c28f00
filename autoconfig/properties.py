"""Turns the bytes of a .properties file into keys and values that know their lines; carries mistakes, raises none."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

import javaproperties

from autoconfig.errors import ConfigError, PropertiesError


@dataclass(frozen=True, slots=True)
class Property:
    """One `key=value`, and the line it starts on."""

    key: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class PropertiesFile:
    """What a .properties file says, in its order; `label` names it in messages."""

    label: str
    properties: tuple[Property, ...]
    notes: tuple[str, ...] = ()
    errors: tuple[ConfigError, ...] = ()


def parse_properties(data: bytes, label: str = "serving.properties") -> PropertiesFile:
    """Read Java's .properties format: comments, escapes, continuation lines and all three separators."""
    notes: list[str] = []
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = data.decode("iso-8859-1")
        line = data.count(b"\n", 0, error.start) + 1
        notes.append(f"{label}:{line}: not UTF-8; the file is read as ISO-8859-1, as Java does")
    lines = _CountedLines(text)
    properties: list[Property] = []
    errors: list[ConfigError] = []
    while not lines.at_end:
        try:
            properties += _pairs(lines)
        except PropertiesError as error:
            errors.append(PropertiesError(f"{label}:{error}"))
    return PropertiesFile(label, tuple(properties), tuple(notes), tuple(errors))


class _CountedLines:
    """The text as javaproperties reads it, telling how far it has got; any of Java's three line ends counts."""

    def __init__(self, text: str) -> None:
        self._text = io.StringIO(text, newline="")
        self.count = 0
        self.at_end = False

    def readline(self) -> str:
        line = self._text.readline()
        self.count += bool(line)
        self.at_end = not line
        return line


def _pairs(lines: _CountedLines) -> Iterator[Property]:
    """Yield pairs up to the end or the first bad one; after a bad one, a second call goes on behind it."""
    elements = javaproperties.parse(cast("IO[str]", lines))  # it calls readline and nothing else
    while True:
        start = lines.count + 1
        try:
            element = next(elements, None)
        except javaproperties.InvalidUEscapeError as error:
            raise PropertiesError(f"{start}: {error.escape} is no character; \\u takes four hex digits.") from None
        if element is None:
            return
        if isinstance(element, javaproperties.KeyValue):
            if not _is_text(element.key + element.value):
                raise PropertiesError(f"{start}: {element.key!r} holds half of a surrogate pair; write both halves.")
            yield Property(element.key, element.value, start)


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
