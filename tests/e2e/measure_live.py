"""How long an approval takes to reach the other operator's screen, from the click to the changed row:

    .venv/bin/python -m tests.e2e.measure_live [how many approvals]

Two browsers, the whole stack, all on this machine. Once with each order carried to its end before the next is
approved, and once as fast as one can click, with the orders of the clicks before on their way.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.conftest import at_the_queue
from tests.e2e.stack import Stack, Visitors, chromium, running
from tests.servers import environment_of_the_run

NOTE_WHEN_DECIDED = """() => {
  window.seen = {};
  new MutationObserver(() => {
    for (const row of document.querySelectorAll("tr.decided")) window.seen[row.id] ??= Date.now();
  }).observe(document.body, {subtree: true, attributes: true, attributeFilter: ["class"]});
}"""
CLICK = "button => { const at = Date.now(); button.click(); return at; }"


def measure(stack: Stack, alice: Page, bob: Page, count: int, *, calm: bool) -> list[int]:
    """Milliseconds of each approval, sorted."""
    orders = [stack.hands("place", name=f"Fast {n}", reviewed=True) for n in range(count)]
    for page in (alice, bob):
        page.reload()
        expect(page.locator("#live-sign")).to_have_text("Live")
    bob.evaluate(NOTE_WHEN_DECIDED)
    taken = []
    for order in orders:
        clicked = alice.get_by_role("button", name=f"Approve {order['number']}").evaluate(CLICK)
        expect(bob.locator(f"#queue-{order['id']}.decided")).to_be_visible()
        taken.append(bob.evaluate("id => window.seen[id]", f"queue-{order['id']}") - clicked)
        if calm:
            expect(bob.locator(f"#queue-{order['id']}")).to_contain_text("Completed")
    return sorted(taken)


def main(count: int) -> None:
    with environment_of_the_run() as environment, tempfile.TemporaryDirectory() as folder:
        os.environ |= environment
        with running(Path(folder)) as stack, chromium() as browser:
            visitors = Visitors(browser, stack)
            alice, bob = at_the_queue(visitors, "alice"), at_the_queue(visitors, "bob")
            for calm in (True, False):
                tell(
                    "one after the other" if calm else "click upon click", measure(stack, alice, bob, count, calm=calm)
                )
            visitors.leave()


def tell(how: str, taken: list[int]) -> None:
    p95 = taken[max(0, round(len(taken) * 0.95) - 1)]
    sys.stdout.write(
        f"approval to the other screen, {how}, {len(taken)} times: "
        f"p50 {statistics.median(taken):.0f} ms, p95 {p95} ms, longest {taken[-1]} ms\n"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
