"""From a click in one operator's browser to the other's screen, while orders come in."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from statistics import quantiles

import psutil
from django.conf import settings
from playwright.sync_api import Browser, Page, expect

from orders.accounts import create_seed_operators
from orders.models import Order
from orders.states import Status
from tests.bench.lifecycle import WARM, place, wait_until
from tests.bench.servers import Servers, computed
from tests.bench.table import Found, Row, explained, within
from tests.bench.web import Web, running_web, session_of
from tests.e2e.stack import chromium
from tests.servers import look_for_chromium

WITHIN_MS = 150.0  # at the 95th percentile
A_PAGE = 40  # clicks before both look at the queue anew, which shows 50
TO_ARRIVE_MS = 30_000.0
BETWEEN_MS = 300.0  # from what was seen to the next click

# Both pages are on this machine, and have one clock. What has changed is seen with the next frame.
NOTE_WHEN_SEEN = """() => {
  window.seen = {};
  const note = () => {
    for (const row of document.querySelectorAll("tr.decided")) window.seen[row.id] ??= Date.now();
  };
  new MutationObserver(() => requestAnimationFrame(note))
    .observe(document.body, {subtree: true, childList: true, attributes: true, attributeFilter: ["class"]});
}"""
CLICK = "button => { const at = Date.now(); button.click(); return at; }"


def measure(servers: Servers, tell: Callable[[str], None], *, clicks: int, per_second: float) -> Found:
    """Once with the workers on another machine, as it were, and once with all on this one."""
    sessions = [session_of(operator) for operator in create_seed_operators()[:2]]
    place(2 * clicks, waiting=True)
    os.environ |= look_for_chromium()
    found = [_watched(servers, tell, sessions, clicks, per_second, with_worker=there) for there in (False, True)]
    without, beside = (cores for _, cores in found)
    lines = {name: [without.get(name, 0.0), busy] for name, busy in beside.items()}
    columns = ["workers elsewhere", "workers here"]
    return Found(
        [row for row, _ in found], explained("Who computes while screens are watched", columns, lines, "cores")
    )


def _watched(
    servers: Servers,
    tell: Callable[[str], None],
    sessions: Sequence[str],
    clicks: int,
    per_second: float,
    *,
    with_worker: bool,
) -> tuple[Row, Mapping[str, float]]:
    """The row, and how many cores each process had at work."""
    began = datetime.now(UTC)
    placed = Order.objects.filter(placed_at__gte=began)
    completed = placed.filter(status=Status.COMPLETED)
    with running_web(servers) as web, ExitStack() as stack:
        processes = servers.processes | {"web": web.process}
        stream = ["-m", "tests.bench.stream", str(per_second)]
        processes["who places them"] = stack.enter_context(servers.running(stream, servers.environment))
        if with_worker:
            worker = servers.running(["manage.py", "runworker"], servers.environment)
            processes["workers"] = stack.enter_context(worker)
        wait_until((completed if with_worker else placed).count, WARM)
        before, since, spent = (placed.count(), completed.count()), time.monotonic(), _spent(processes)
        took = _in_browsers(web, sessions, clicks)
        seconds = time.monotonic() - since
        cores = {name: (now - spent[name]) / seconds for name, now in _spent(processes).items()}
        came, went = (now.count() - known for now, known in zip((placed, completed), before, strict=True))
    cuts = quantiles(took, n=20, method="inclusive")
    meanwhile = f"{came / seconds:.0f} orders a second come"
    if with_worker:
        meanwhile += f" and {went / seconds:.1f} are carried to their end"
    tell(f"{clicks} clicks while {meanwhile}: p50 {cuts[9]:.0f} ms, p95 {cuts[18]:.0f} ms, longest {took[-1]:.0f} ms")
    what = f"p95 from a click to the other operator's screen (p50: {cuts[9]:.0f} ms), while {meanwhile}"
    return within(WITHIN_MS, what=what, took=cuts[18]), cores


def _spent(processes: Mapping[str, psutil.Process]) -> dict[str, float]:
    """Seconds of CPU, the whole machine's last: browsers and all."""
    machine = psutil.cpu_times()
    busy = float(machine.user + machine.nice + machine.system + machine.irq + machine.softirq)
    return {name: computed(process) for name, process in processes.items()} | {"the whole machine": busy}


def _in_browsers(web: Web, sessions: Sequence[str], clicks: int) -> list[float]:
    """Milliseconds of each, sorted. The ORM cannot be used as long as Playwright runs."""
    took: list[float] = []
    with chromium() as browser:
        clicking, seeing = (_page(browser, web, session) for session in sessions)
        while len(took) < clicks:
            for page in (clicking, seeing):
                page.goto(web.url)
                expect(page.locator("#live-sign")).to_have_text("Live", timeout=TO_ARRIVE_MS)
            seeing.evaluate(NOTE_WHEN_SEEN)
            rows = seeing.locator("tr[data-order]:not(.decided)").evaluate_all("rows => rows.map(row => row.id)")
            for row in rows[: min(A_PAGE, clicks - len(took))]:
                clicked = clicking.locator(f"#{row}").get_by_role("button", name="Approve ").evaluate(CLICK)
                seeing.wait_for_function("row => row in window.seen", arg=row, timeout=TO_ARRIVE_MS)
                took.append(seeing.evaluate("row => window.seen[row]", row) - clicked)
                seeing.wait_for_timeout(BETWEEN_MS)
    return sorted(took)


def _page(browser: Browser, web: Web, session: str) -> Page:
    context = browser.new_context()
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": web.url}])
    return context.new_page()
