"""What an adapter may be called: what fits into one line of a log and into JSON."""

import unicodedata

MAX_LENGTH = 256
"""Characters of a name or an alias."""
RULE = f"at most {MAX_LENGTH} characters, without control characters"
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def fits(text: str) -> bool:
    """Tell whether a text is short enough and can be told anywhere; a directory's name need not be UTF-8."""
    return len(text) <= MAX_LENGTH and _UNPRINTABLE.isdisjoint(map(unicodedata.category, text))
