"""Every page and state as those meet it who do not see it, use no mouse, or have it dark or narrow."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, Response, expect

from tests.e2e.conftest import at_the_queue
from tests.e2e.stack import Stack, Visitors, running
from tests.e2e.walk import Look, fill, walk

pytestmark = pytest.mark.timeout(600)  # two hundred looks at pages, each of them whole

STANDARD = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
# What a width, or the night, can change in an element of which all else has been examined.
BY_WIDTH = ["color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size"]
BY_NIGHT = ["color-contrast", "link-in-text-block"]
NARROW, DARK, LIGHT = Look(390, 844, "light"), Look(1440, 900, "dark"), Look(1440, 900, "light")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A desk of its own as it is deployed, after a shop's day."""
    folder = tmp_path_factory.mktemp("surface")
    with running(
        folder,
        DJANGO_DEBUG="0",
        DJANGO_HTTPS="0",
        DJANGO_SETTINGS_MODULE="tests.e2e.as_deployed",
        COLLECTED=str(folder / "static"),
        ATTENTION_DEADLINE="25m",
        SECOND_FACTOR="1",
    ) as stack:
        fill(stack, orders=30)
        yield stack


@pytest.fixture(autouse=True)
def _an_empty_queue() -> None:
    """Not here: how a full one looks is the question."""


class Examiner:
    """Looks at each page and state in turn, and writes down what is wrong with it."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.seen: set[str] = set()
        self._known: set[str] = set()
        self._known_so: defaultdict[Look, set[str]] = defaultdict(set)

    def look(self, page: Page, name: str, look: Look) -> None:
        self.seen.add(name)
        told = page.evaluate(WHAT_IS_THERE)
        if told["width"] > look.width:
            self.found.append(f"{name} {look}: it is {told['width']} pixels wide")
        if told["animations"]:  # who walks has asked for less motion
            self.found.append(f"{name} {look}: {told['animations']} animations run")
        kinds = set(told["kinds"])
        new, other = kinds - self._known, kinds & self._known - self._known_so[look]
        rules = {"type": "rule", "values": BY_NIGHT if look.scheme == "dark" else BY_WIDTH}
        self.found += [f"{name} {look}: {each}" for each in breaches(page, STANDARD, new)]
        self.found += [f"{name} {look}: {each}" for each in breaches(page, rules, other - {told["outline"]})]
        self._known |= new
        self._known_so[look] |= kinds

    def hear(self, answer: Response) -> None:
        """What the server sends as a page has to have the strict policy."""
        if not answer.request.is_navigation_request() or answer.status in (301, 302, 303):
            return
        policy = answer.header_value("content-security-policy") or ""
        is_exempt = "/broken/" in answer.url  # which the walk answers itself
        if not is_exempt and ("default-src 'none'" not in policy or "unsafe" in policy):
            self.found.append(f"{answer.url}: its policy is {policy!r}")


# What can be seen, by kind: what stands in what, each by its classes and attributes. Of a kind that was examined once
# nothing is examined again; a page whose outline is new is examined whole.
KINDS = """() => {
  const told = (element) => {
    const chosen = element.localName === "tr" && element.querySelector(":checked") ? "chosen" : "";
    return `${element.localName}.${element.getAttribute("class") ?? ""}[${element.getAttributeNames()}]${chosen}`;
  };
  const paths = new Map([[document.body, ""]]);
  const kinds = new Map();
  for (const element of document.body.querySelectorAll("*")) {
    const path = `${paths.get(element.parentElement)} ${told(element)}`;
    paths.set(element, path);
    if (element.checkVisibility() && !kinds.has(path)) kinds.set(path, element);
  }
  const seen = [...kinds.values()].map((element) => element.localName);
  const heads = seen.filter((name) => /^(main|header|nav|h\\d)$/.test(name)).join();
  const outline = `outline: ${heads}, titled: ${document.title !== ""}`;
  return { outline, kinds: kinds.set(outline, document.documentElement) };
}"""
WHAT_IS_THERE = f"""() => {{
  const {{ outline, kinds }} = ({KINDS})();
  const {{ scrollWidth: width }} = document.documentElement;
  return {{ width, animations: document.getAnimations().length, outline, kinds: [...kinds.keys()] }};
}}"""
AXE = f"""async ([wanted, options]) => {{
  const there = ({KINDS})().kinds;  // looked for anew: what others do may have replaced it
  const include = wanted.filter((kind) => there.has(kind)).map((kind) => there.get(kind));
  if (!include.length) return [];
  const {{ violations }} = await axe.run({{ include }}, options);
  const told = ({{ target, failureSummary }}) => [target.join(" "), failureSummary];
  return violations.map(({{ id, nodes }}) => [id, nodes.slice(0, 3).map(told)]);
}}"""


def breaches(page: Page, rules: dict[str, Any], kinds: set[str]) -> list[str]:
    """Of the rules, as axe finds them."""
    if not kinds:
        return []
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    said = page.evaluate(AXE, [sorted(kinds), {"runOnly": rules, "resultTypes": ["violations"], "preload": False}])
    return [f"{rule}: {where} {' '.join(why.split())}" for rule, nodes in said for where, why in nodes]


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


def test_the_queue_comes_with_little(stack: Stack, chromium_browser: Browser) -> None:
    visitors = Visitors(chromium_browser, stack)
    missing = 50 - len(stack.hands("with_status", status="in_review"))
    rest = [stack.hands("place", name=f"One of Fifty {n}", reviewed=True) for n in range(missing)]
    page = visitors.browser_of("alice").new_page()
    network = page.context.new_cdp_session(page)
    asked: dict[str, str] = {}
    weight: dict[str, int] = {}  # with the answers' headers
    network.on("Network.responseReceived", lambda told: asked.update({told["requestId"]: told["type"]}))
    network.on("Network.loadingFinished", lambda told: weight.update({told["requestId"]: told["encodedDataLength"]}))
    network.send("Network.enable")

    page.goto("/")

    expect(page.locator("tr.row")).to_have_count(50)
    expect(page.locator("#live-sign")).to_have_text("Live")
    of_the_page = [key for key, kind in asked.items() if kind in {"Document", "Stylesheet", "Script"}]
    assert len(of_the_page) <= 5
    assert sum(weight[key] for key in of_the_page) <= 45_000, [weight[key] for key in of_the_page]
    visitors.leave()
    for order in rest:
        stack.hands("cancel", order=order["number"], by="dana")


def test_no_page_and_no_state_keeps_anybody_out(stack: Stack, chromium_browser: Browser) -> None:
    visitors, examiner = Visitors(chromium_browser, stack), Examiner()
    visitors.on_answer = examiner.hear

    walk(stack, visitors, examiner.look, (NARROW, LIGHT, DARK))
    visitors.leave()

    assert not examiner.found, "\n".join(examiner.found)
    assert visitors.complaints == []
    assert len(examiner.seen) > 55
