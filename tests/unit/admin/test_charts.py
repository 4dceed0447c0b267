"""Charts: what is drawn fits, and says the same as its table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.admin.charts import HEIGHT, WIDTH, Chart, side_by_side, stacked

NUMBERS = st.lists(
    st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=90
)


def check(chart: Chart, days: int) -> None:
    assert len(chart.rows) == days
    for bar in chart.bars:
        assert bar.x >= 0
        assert bar.x + bar.width <= WIDTH
        assert bar.height >= 0
        assert bar.y >= 0
        assert bar.y + bar.height <= HEIGHT


@given(NUMBERS)
def test_a_chart_fits_whatever_its_numbers(numbers: list[tuple[int, int, int]]) -> None:
    days = [f"2026-{number:04d}" for number in range(len(numbers))]
    series = dict(zip("abc", zip(*numbers, strict=True), strict=True))

    for draw in (stacked, side_by_side):
        check(draw("A chart", days, series, "abc"), len(days))


def test_parts_of_a_day_stand_on_each_other() -> None:
    chart = stacked("Events", ["2026-03-01"], {"sent": [30], "rejected": [10]}, "ab")

    sent, refused = chart.bars
    assert refused.y + refused.height == pytest.approx(sent.y)
    assert sent.height == pytest.approx(3 * refused.height)
    assert sent.title == "2026-03-01: sent 30"
    assert chart.rows == (("2026-03-01", ("30", "10")),)


def test_days_without_anything_have_no_bar() -> None:
    chart = stacked("Events", ["2026-03-01", "2026-03-02"], {"sent": [0, 0]}, "a")

    assert chart.bars == ()
    assert [word for _, word in chart.ticks] == ["0", "1", "2"]


def test_a_slow_day_does_not_hide_the_others() -> None:
    chart = side_by_side("Latency", ["2026-03-01", "2026-03-02"], {"p99": [100, 100_000]}, "a")

    quick, slow = chart.bars
    assert 3 * quick.height < slow.height < 5 * quick.height
    assert [word for _, word in chart.ticks] == ["10 ms", "100 ms", "1 s", "10 s", "100 s"]
