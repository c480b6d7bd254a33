"""The table of `make bench` says what is missed, and is no kinder to us than to others."""

from pathlib import Path

import pytest

from tests.bench.__main__ import PARTS, options_of
from tests.bench.page import Page
from tests.bench.table import Found, Row, at_least, at_most


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


def test_a_part_that_is_measured_again_replaces_its_rows_and_keeps_those_of_others(tmp_path: Path) -> None:
    page = Page(tmp_path)
    page.keep("alone", Found([Row("Lone", 9.0, "bare", 3.0, "ms")], ["## Why", "", "Because."]), options=[], load=0.1)
    page.keep("lists", Found([Row("Old", 1.0, "small", 1.0, "ms")]), options=["--runs", "2"], load=0.2)

    page.keep("lists", Found([Row("New", 1_234.5, "small", 617.25, "ms")], chart="<svg/>"), options=[], load=0.34)

    written = (tmp_path / "benchmarks.md").read_text()
    assert "| Lone | 9.0 ms | 3.0 ms, bare | 3.00 |  |" in written
    assert "| New | 1,234 ms | 617 ms, small | 2.00 |  |" in written
    assert "Old" not in written
    assert "- no options: alone 0.1, lists 0.3" in written
    assert "## Why\n\nBecause.\n" in written
    assert "temporalio" in written
    assert (tmp_path / "benchmarks.svg").read_text() == "<svg/>"


def test_without_a_word_all_is_measured_but_what_takes_half_an_hour(capsys: pytest.CaptureFixture[str]) -> None:
    assert options_of([]).parts == list(PARTS[:-1])
    assert options_of(["memory", "--orders", "7"]).parts == ["memory"]

    with pytest.raises(SystemExit):
        options_of(["memmory"])
    assert "there is no 'memmory'" in capsys.readouterr().err
