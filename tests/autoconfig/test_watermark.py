"""How full a tier is kept: what comes at once always has room, and no more than that stays free."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoconfig.watermark import kept_bytes, slack
from tests.autoconfig.hosts import GIB

SIZES = st.integers(GIB // 10, 4096 * GIB)


@given(size=SIZES, needed=SIZES)
def test_what_comes_at_once_has_room_where_it_takes_half_of_the_tier_or_less(size: int, needed: int) -> None:
    assert size * slack(size, needed) >= min(needed, size * 0.5)


@given(size=SIZES, more=SIZES, needed=SIZES)
def test_a_larger_tier_never_keeps_less(size: int, more: int, needed: int) -> None:
    larger = size + more
    assert kept_bytes(larger, slack(larger, needed)) >= kept_bytes(size, slack(size, needed))


@pytest.mark.parametrize(
    ("size", "needed", "share"), [(100, 60, 0.5), (100, 30, 0.3), (100, 9, 0.1), (100, 1.5, 0.06), (100, 0.1, 0.02)]
)
def test_a_prompt_that_is_a_small_part_of_the_tier_costs_little(size: float, needed: float, share: float) -> None:
    assert slack(size, needed) == share
