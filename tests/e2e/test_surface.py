"""Every page and state as those meet it who do not see it, use no mouse, or have it dark or narrow."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Response, expect

from tests.e2e.conftest import at_the_queue
from tests.e2e.stack import Stack, Visitors, running
from tests.e2e.walk import Look, fill, walk

pytestmark = pytest.mark.timeout(600)  # a hundred and fifty pages, each looked at whole

STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
NARROW, DARK, LIGHT = Look(390, 844, "light"), Look(1440, 900, "dark"), Look(1440, 900, "light")
AXE = Axe()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A desk of its own, after a shop's day."""
    folder = tmp_path_factory.mktemp("surface")
    with running(folder, ATTENTION_DEADLINE="25m") as stack:
        fill(stack, folder, orders=30)
        yield stack


@pytest.fixture(autouse=True)
def _an_empty_queue() -> None:
    """Not here: how a full one looks is the question."""


class Examiner:
    """Looks at each page and state in turn, and writes down what is wrong with it."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.seen: set[str] = set()

    def look(self, page: Page, name: str, look: Look) -> None:
        self.seen.add(name)
        wrong = [*breaches(page, look), *too_wide(page, look), *moving(page)]
        self.found += [f"{name} {look}: {each}" for each in wrong]

    def hear(self, answer: Response) -> None:
        """What the server sends as a page has to have the strict policy."""
        if not answer.request.is_navigation_request() or answer.status in (301, 302, 303):
            return
        policy = answer.header_value("content-security-policy") or ""
        # With DEBUG, as here, what is not found has no policy; /broken/ is answered by the walk itself.
        is_exempt = answer.status == 404 or "/broken/" in answer.url
        if not is_exempt and ("default-src 'none'" not in policy or "unsafe" in policy):
            self.found.append(f"{answer.url}: its policy is {policy!r}")


def breaches(page: Page, look: Look) -> list[str]:
    """Of the standard, as axe finds them. By night only colours differ."""
    rules: dict[str, Any] = {"type": "tag", "values": STANDARD}
    if look.scheme == "dark":
        rules = {"type": "rule", "values": ["color-contrast"]}
    said = AXE.run(page, options={"runOnly": rules, "resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {' '.join(node['target'])} {re.sub(chr(10), ' ', node['failureSummary'])}"
        for rule in said
        for node in rule["nodes"][:3]
    ]


def too_wide(page: Page, look: Look) -> list[str]:
    width = page.evaluate("() => document.documentElement.scrollWidth")
    return [f"it is {width} pixels wide"] if width > look.width else []


def moving(page: Page) -> list[str]:
    """Who walks has asked for less motion."""
    count = page.evaluate("() => document.getAnimations().length")
    return [f"{count} animations run"] if count else []


WATCH_WHAT_MOVES = """() => {
  window.moved = [];
  const name = ({ node }) => (node?.id || node?.className || node?.nodeName || "?");
  new PerformanceObserver((list) => window.moved.push(...list.getEntries().flatMap((entry) => entry.sources.map(name))))
    .observe({ type: "layout-shift" });
}"""


def test_nothing_moves_by_itself_when_others_decide_and_orders_come_in(stack: Stack, chromium_browser: Browser) -> None:
    visitors = Visitors(chromium_browser, stack)
    order = stack.hands("place", name="Stays Where He Is", reviewed=True, due_seconds=600)
    page = at_the_queue(visitors, "alice")
    row = page.locator(f"#queue-{order['id']}")
    expect(row).to_be_visible()
    page.evaluate(WATCH_WHAT_MOVES)

    stack.hands("place", name="Comes Later", reviewed=True)
    stack.hands("approve", order=order["number"], by="bob")

    expect(row).to_contain_text("Approved by bob")
    expect(page.locator("#new")).to_be_visible()
    assert page.evaluate("window.moved") == []
    visitors.leave()


def test_no_page_and_no_state_keeps_anybody_out(stack: Stack, chromium_browser: Browser) -> None:
    visitors, examiner = Visitors(chromium_browser, stack), Examiner()
    visitors.on_answer = examiner.hear

    walk(stack, visitors, examiner.look, (NARROW, DARK, LIGHT))
    visitors.leave()

    assert not examiner.found, "\n".join(examiner.found)
    assert visitors.complaints == []
    assert len(examiner.seen) > 35
