"""Says from how many tokens of working set on each tier pays: what is asked for again, summed over all that ask."""

from collections.abc import Iterator


def advice(engine: int | None, cpu: int, disk: int, copies: int, *, remote: bool = False) -> Iterator[str]:
    """Yield one line for each range; every tier begins where the one above is full. `remote` has no known end.

    LMCache writes through, so the tiers do not add up: what RAM holds is on disk as well, and the engine's is in RAM.
    """
    if engine:
        each = f" (each of {copies} copies its own)" if copies > 1 else ""
        holds = f"the engine's own cache holds them{each}"
        yield f"up to {tokens(engine)} tokens in use again: {holds}; offloading adds nothing"
    below = engine or 0
    if engine is None and (cpu or disk or remote):
        yield "up to what the engine's own cache holds, which is not known: offloading adds nothing"
    for held, tier in ((cpu, "the RAM tier"), (disk, "the disk tier")):
        if held > below:
            start = f"from {tokens(below)} to" if below else "from there to"
            yield f"{start} {tokens(held)} tokens: {tier} pays"
            below = held
    beyond = f"beyond {tokens(below)} tokens" if below else "beyond that"
    if remote:
        yield f"{beyond}: the remote tier pays, as far as it holds them"
    elif below:
        yield f"{beyond}: more instances; sticky sessions keep each user's cache where it is"


def tokens(number: int) -> str:
    """`2574000` -> `2.57 M`, rounded to three digits."""
    if number < 1000:
        return str(number)
    scaled, unit = (number / 1e6, " M") if number >= 1e6 else (number / 1e3, " K")
    return (f"{scaled:,.0f}" if scaled >= 100 else f"{scaled:.3g}") + unit
