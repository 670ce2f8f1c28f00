"""What can be wrong with a configuration, in words an operator can act on; all mistakes are raised together.

    ConfigErrors                 everything found, raised once
    └─ ConfigError               one mistake: what, where, what to do
       ├─ UnreadableProperties   a line of a .properties file cannot be taken
       ├─ UnknownName            no option, vLLM argument or server key has this name
       ├─ BadValue               the value is not what the option takes
       ├─ Contradiction          two names or two values for one option, or two options that exclude each other
       ├─ Refused                understood, and not done here; the message says what to do instead
       └─ UnfitHost              this machine cannot do what is asked
"""

from collections.abc import Iterable


class ConfigError(Exception):
    """One mistake in the configuration; its text is the operator's message."""


class UnreadableProperties(ConfigError):
    """A line of a .properties file cannot be taken."""


class UnknownName(ConfigError):
    """No option, vLLM argument or server key has this name."""


class BadValue(ConfigError):
    """The value is not what the option takes."""


class Contradiction(ConfigError):
    """Two names or two values for one option, or two options that exclude each other."""


class Refused(ConfigError):
    """Understood, and not done here."""


class UnfitHost(ConfigError):
    """This machine cannot do what is asked."""


class ConfigErrors(Exception):
    """Every mistake found in one reading of the configuration."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(map(str, self.errors)))
