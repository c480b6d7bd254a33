"""What was measured, as rows of a table: each a ratio of two figures of the same run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`ours` against `theirs`, in `unit`. `target` is what the ratio is to be; `is_met` is None where there is none."""

    what: str
    ours: float
    against: str
    theirs: float
    unit: str
    target: str = ""
    is_met: bool | None = None

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    def __str__(self) -> str:
        missed = {True: "met", False: "**missed**", None: ""}[self.is_met]
        cells = (
            self.what,
            f"{_figure(self.ours)} {self.unit}",
            f"{_figure(self.theirs)} {self.unit}, {self.against}",
            f"{self.ratio:.2f}",
            f"{self.target} {missed}".strip(),
        )
        return f"| {' | '.join(cells)} |"


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


def at_least(ratio: float, *, what: str, ours: float, against: str, theirs: float, unit: str) -> Row:
    return Row(what, ours, against, theirs, unit, f"≥ {ratio}", ours >= ratio * theirs)


def at_most(ratio: float, *, what: str, ours: float, against: str, theirs: float, unit: str) -> Row:
    return Row(what, ours, against, theirs, unit, f"≤ {ratio}", ours <= ratio * theirs)


def within(limit: float, *, what: str, took: float) -> Row:
    """Both in milliseconds."""
    return at_most(1.0, what=what, ours=took, against="what it is to take", theirs=limit, unit="ms")


@dataclass(frozen=True)
class Found:
    """What one part of the bench has found: its rows, Markdown below the table, and a chart as SVG."""

    rows: Sequence[Row]
    details: Sequence[str] = ()
    chart: str = ""


def explained(title: str, columns: Sequence[str], lines: Mapping[str, Sequence[float]], unit: str) -> Sequence[str]:
    """A small table that says where something goes; what a column does not have is 0 there."""
    return [
        f"## {title}",
        "",
        f"| {unit} | {' | '.join(columns)} |",
        f"| --- |{' ---: |' * len(columns)}",
        *(f"| {name} | {' | '.join(f'{number:,.1f}' for number in numbers)} |" for name, numbers in lines.items()),
    ]
