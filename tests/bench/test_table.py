"""The table of `make bench` says what is missed, and is no kinder to us than to others."""

import pytest

from tests.bench.table import Row, at_least, at_most, document


@pytest.mark.parametrize(("ours", "is_met"), [(9.9, False), (10.0, True), (10.1, True)])
def test_more_is_better_where_it_is_to_be_at_least(ours: float, is_met: bool) -> None:
    row = at_least(1.0, what="Orders", ours=ours, against="bare", theirs=10.0, unit="/s")

    assert row.is_met is is_met
    assert ("**missed**" in str(row)) is not is_met


@pytest.mark.parametrize(("ours", "is_met"), [(119.0, True), (121.0, False)])
def test_less_is_better_where_it_is_to_be_at_most(ours: float, is_met: bool) -> None:
    row = at_most(1.2, what="Page", ours=ours, against="small", theirs=100.0, unit="ms")

    assert row.is_met is is_met
    assert row.ratio == pytest.approx(ours / 100)


def test_the_page_says_by_which_command_and_on_which_machine_it_was_written() -> None:
    page = document([Row("CPU", 1_234.5, "DBOS", 617.25, "ms")], ["Load 0.1."], command="make bench")

    assert "`make bench`" in page
    assert "temporalio" in page
    assert "| CPU | 1,234 ms | 617 ms, DBOS | 2.00 |  |" in page
    assert "- Load 0.1." in page
