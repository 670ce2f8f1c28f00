"""What can be wrong with a configuration, in words an operator can act on; all mistakes are raised together.

ConfigErrors              everything found, raised once
└─ ConfigError            one mistake: what, where, what to do
   ├─ PropertiesError     a line of a .properties file cannot be taken
   ├─ UnknownNameError    no option, vLLM argument or server key has this name
   ├─ BadValueError       the value is not what the option takes
   ├─ ContradictionError  two names or values for one option, or two options that exclude each other
   ├─ UserCodeError       a script of the user's own is no Python
   ├─ RefusedError        understood, and not done here; the message says what to do instead
   └─ UnfitHostError      this machine cannot do what is asked
"""

from collections.abc import Iterable


class ConfigError(Exception):
    """One mistake in the configuration; its text is the operator's message."""


class PropertiesError(ConfigError):
    """A line of a .properties file cannot be taken."""


class UnknownNameError(ConfigError):
    """No option, vLLM argument or server key has this name."""


class BadValueError(ConfigError):
    """The value is not what the option takes."""


class ContradictionError(ConfigError):
    """Two names or values for one option, or two options that exclude each other."""


class UserCodeError(ConfigError):
    """A script of the user's own is no Python."""


class RefusedError(ConfigError):
    """Understood, and not done here."""


class UnfitHostError(ConfigError):
    """What is asked for cannot be done on this machine."""


class ConfigErrors(Exception):  # noqa: N818  it is the plural that matters
    """Every mistake found in one reading of the configuration."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(map(str, self.errors)))
