"""Says how full LMCache may keep a tier: it evicts above a watermark, once a second, and what comes meanwhile must fit.

Where the chunks of one prompt do not find room together, LMCache keeps none of them (0.5.6: l1_manager.py).
"""

from math import ceil

# Judgements, of what two seconds bring: 10,000 tokens/s of 56 KiB on GPUs, and a tenth of that without one.
_BROUGHT_ON_GPUS, _BROUGHT = 1.2e9, 0.12e9
LEAST_SLACK, MOST_SLACK = 0.02, 0.5
# Room for several prompts at once, as far as that costs little.
_SEVERAL, _LITTLE = 4, 0.1


def brought_bytes(*, on_gpus: bool) -> float:
    """Return what may come before LMCache notices that a tier is full."""
    return _BROUGHT_ON_GPUS if on_gpus else _BROUGHT


def slack(size_bytes: float, needed_bytes: float) -> float:
    """Return the share of a tier to be kept free, in whole hundredths: room for what comes at once, within reason."""
    share = needed_bytes / size_bytes
    wanted = max(share, min(_LITTLE, _SEVERAL * share))
    return min(MOST_SLACK, max(LEAST_SLACK, ceil(wanted * 100) / 100))


def kept_bytes(size_bytes: int, free_share: float) -> int:
    """Return what stays of a tier's content: entries of that size together are never evicted."""
    return int(size_bytes * (1 - free_share))
