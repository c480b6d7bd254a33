"""What was measured, as rows of a table: each a ratio of two figures of the same run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.bench.servers import machine


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


def document(rows: Sequence[Row], notes: Iterable[str], *, command: str) -> str:
    """All of `docs/benchmarks.md`."""
    return "\n".join(
        [
            "# Benchmarks",
            "",
            f"Written by `{command}`: figures of one run, side by side, on one machine. Another has other figures, and",
            "much the same ratios.",
            "",
            f"{machine()}.",
            "",
            "| what | Countersign | against | ratio | target |",
            "| --- | ---: | ---: | ---: | --- |",
            *map(str, rows),
            "",
            *(f"- {note}" for note in notes),
            "",
        ]
    )
