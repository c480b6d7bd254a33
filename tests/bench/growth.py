"""Orders a second by how many worker processes carry them and how many orders wait, as a chart."""

from collections.abc import Callable, Mapping
from itertools import product

from orders import charts
from tests.bench.lifecycle import of_the_desk
from tests.bench.servers import Servers
from tests.bench.table import Found, Row

WORKERS = (1, 2, 4)
LENGTHS = (1, 10)  # times the queue
KIND = {1: "short", 10: "long"}  # the class of a bar's colour


def measure(servers: Servers, tell: Callable[[str], None], *, queue: int) -> Found:
    pace = {}
    for workers, length in product(WORKERS, LENGTHS):
        found = of_the_desk(servers, queue * length, workers=workers)
        pace[workers, length] = found.per_second
        tell(f"{workers} workers, {queue * length} orders: {found.per_second:.1f} orders a second")
    rows = [
        Row(f"Orders through their whole life, {words}", pace[ours], against, pace[theirs], "/s")
        for words, against, ours, theirs in (
            ("2 worker processes", "1", (2, 10), (1, 10)),
            ("4 worker processes", "1", (4, 10), (1, 10)),
            (f"{queue * 10} waiting", f"{queue} waiting", (1, 10), (1, 1)),
        )
    ]
    details = [
        "## Growth",
        "",
        f"![Orders a second with 1, 2 and 4 worker processes, {queue} and {queue * 10} waiting](benchmarks.svg)",
        "",
        "Servers and workers share the machine: with all its cores at work, another worker adds none.",
    ]
    return Found(rows, details, chart=_drawn(pace, queue))


def _drawn(pace: Mapping[tuple[int, int], float], queue: int) -> str:
    """Bars side by side, an orders-a-minute scale at their left, in colours that are seen on light and on dark."""
    told = {key: f"{key[0]} worker{'s' if key[0] > 1 else ''}, {queue * key[1]} orders" for key in pace}
    drawn = charts.stacked([(told[key], [(KIND[key[1]], round(60 * found))]) for key, found in pace.items()])
    parts = [
        f'<rect class="{part.kind}" x="{bar.x}" y="{part.y}" width="{drawn.bar}" height="{part.height}">'
        f"<title>{bar.title}</title></rect>"
        for bar in drawn.bars
        for part in bar.parts
    ]
    group = drawn.width / len(WORKERS)
    parts += [
        f'<text class="middle" x="{(index + 0.5) * group}" y="{drawn.height + 11}">{workers}</text>'
        for index, workers in enumerate(WORKERS)
    ]
    below = drawn.height + 23
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="-24 -16 {drawn.width + 32} {below + 32}" width="480" role="img">
<style>text {{ font: 8px sans-serif; fill: #808080 }} .middle {{ text-anchor: middle }} .end {{ text-anchor: end }}
.short {{ fill: #4493f8 }} .long {{ fill: #db8a3a }} path {{ stroke: #808080; stroke-width: 0.5 }}</style>
<title>Orders a minute by worker processes and by orders that wait</title>
<text x="-20" y="-8">orders a minute</text>
<path d="M0 0H{drawn.width}M0 {drawn.height / 2}H{drawn.width}M0 {drawn.height}H{drawn.width}"/>
<text class="end" x="-3" y="3">{drawn.top}</text><text class="end" x="-3" y="{drawn.height}">0</text>
{"".join(parts)}
<text class="middle" x="{drawn.width / 2}" y="{below}">worker processes</text>
<rect class="short" x="0" y="{below + 6}" width="6" height="6"/><text x="9" y="{below + 12}">{queue} waiting</text>
<rect class="long" x="{drawn.width / 2}" y="{below + 6}" width="6" height="6"/>\
<text x="{drawn.width / 2 + 9}" y="{below + 12}">{queue * 10} waiting</text>
</svg>
"""
