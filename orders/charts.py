"""Small charts as SVG: geometry only, in the units of their viewBox. What it looks like is in `desk.css`. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

HEIGHT = 120
STEP = 20  # from bar to bar
BAR = 14


@dataclass(frozen=True)
class Part:
    """A piece of a bar; `kind` is the class of its colour."""

    kind: str
    y: float
    height: float


@dataclass(frozen=True)
class Bar:
    x: float
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Bars:
    """Stacked bars side by side, as high as the highest needs."""

    width: int
    height: int
    bar: int
    top: int  # what the full height stands for
    bars: Sequence[Bar]


def stacked(columns: Sequence[tuple[str, Sequence[tuple[str, int]]]]) -> Bars:
    """Each column is a title and its parts from the ground up, as kind and number."""
    top = _round_up(max((sum(number for _, number in parts) for _, parts in columns), default=0))
    bars = []
    for index, (title, parts) in enumerate(columns):
        stack, ground = [], float(HEIGHT)
        for kind, number in parts:
            height = round(number / top * HEIGHT, 1)
            ground -= height
            if number:
                stack.append(Part(kind, round(ground, 1), height))
        bars.append(Bar(index * STEP + (STEP - BAR) / 2, title, stack))
    return Bars(max(len(columns), 1) * STEP, HEIGHT, BAR, top, bars)


def _round_up(number: int) -> int:
    """To a figure that reads well beside an axis and can be halved: 4, 10, 20, 40, 100, …"""
    size = 1
    while True:
        for step in (4, 10, 20):
            if number <= step * size:
                return step * size
        size *= 10


@dataclass(frozen=True)
class Piece:
    """A piece of a line that is 100 long."""

    kind: str
    x: float
    width: float


def line(parts: Sequence[tuple[str, int]]) -> Sequence[Piece]:
    """Shares of a whole, side by side."""
    whole = sum(number for _, number in parts)
    pieces, x = [], 0.0
    for kind, number in parts:
        width = round(number / whole * 100, 2) if whole else 0.0
        if width:
            pieces.append(Piece(kind, round(x, 2), width))
        x += width
    return pieces
