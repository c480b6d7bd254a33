"""`python -m tests.screenshots`: take the README's pictures of a desk with made-up orders, on free ports.

`--all FOLDER` takes every page and state instead, wide and narrow, light and dark, to be looked at.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route, expect

from tests.e2e.stack import BASE, Service, Stack, Visitors, chromium, running
from tests.servers import environment_of_the_run

README = BASE / "docs" / "screenshots"
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page and state, into this folder")
    folder = parser.parse_args().all
    with tempfile.TemporaryDirectory() as logs, environment_of_the_run() as found:
        os.environ |= found
        with (
            running(Path(logs), TEMPORAL_UI_URL="http://127.0.0.1:8233", ATTENTION_DEADLINE="25m") as stack,
            chromium() as browser,
        ):
            fill(stack, Path(logs))
            if folder is None:
                take_readme(stack, browser)
            else:
                take_all(stack, browser, folder)


def fill(stack: Stack, logs: Path) -> None:
    """Play a shop's day, and decide a part of what it brings."""
    shop = [sys.executable, "manage.py", "demo_orders", "--first", "44", "--every", "3600"]
    demo = Service("demo", shop, stack.environment, logs)
    demo.start()
    wait_for(lambda: "CS-104043" in demo.log.read_text())
    demo.stop()
    wait_for(lambda: not any(stack.hands("with_status", status=s) for s in ("placed", "received", "validated")))
    waiting = stack.hands("with_status", status="in_review")
    for number, by in zip(waiting[4:10], ["alice", "bob", "dana"] * 2, strict=True):
        stack.hands("approve", order=number["number"], by=by)
    stack.hands("reject", order=waiting[11]["number"], by="bob", reason="Card issued in another country; no answer.")
    stack.hands("cancel", order=waiting[12]["number"], by="alice")
    wait_for(lambda: not any(stack.hands("with_status", status=s) for s in ("approved", "reserved", "charged")))


def wait_for(it_is_so: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not it_is_so():
        if time.monotonic() > until:
            raise TimeoutError("The desk did not get there.")
        time.sleep(0.2)


def live(page: Page, path: str) -> None:
    page.goto(path)
    expect(page.locator("#live-sign")).to_have_text("Live")


def take_readme(stack: Stack, browser: Browser) -> None:
    README.mkdir(parents=True, exist_ok=True)
    visitors = Visitors(browser, stack)
    page = visitors.browser_of("alice", viewport=WIDE, color_scheme="light").new_page()
    live(page, "/")
    page.screenshot(path=README / "queue.png")
    order = stack.hands("with_status", status="in_review")[0]
    live(page, f"/orders/{order['id']}/")
    page.screenshot(path=README / "order.png")
    visitors.leave()


LOOKS: dict[str, dict[str, Any]] = {
    "wide-light": {"viewport": WIDE, "color_scheme": "light"},
    "wide-dark": {"viewport": WIDE, "color_scheme": "dark"},
    "narrow-light": {"viewport": NARROW, "color_scheme": "light"},
    "narrow-dark": {"viewport": NARROW, "color_scheme": "dark"},
}


class Eyes:
    """One person's browsers in the four looks."""

    def __init__(self, visitors: Visitors, name: str, folder: Path) -> None:
        self.folder = folder
        self.pages = {
            look: (visitors.browser_of(name, **options) if name else visitors.browser(**options)).new_page()
            for look, options in LOOKS.items()
        }

    def each(self, do: Callable[[Page], object]) -> None:
        for page in self.pages.values():
            do(page)

    def go(self, path: str) -> None:
        for page in self.pages.values():
            page.goto(path)
            if page.locator("#live-sign").count():
                expect(page.locator("#live-sign")).to_have_text("Live")

    def shoot(self, name: str, *, whole: bool = False) -> None:
        for look, page in self.pages.items():
            page.screenshot(path=self.folder / f"{name}-{look}.png", full_page=whole, animations="disabled")


def take_all(stack: Stack, browser: Browser, folder: Path) -> None:
    """Every state in turn; each is photographed in the four looks before the next is brought about."""
    folder.mkdir(parents=True, exist_ok=True)
    visitors = Visitors(browser, stack)
    alice, vera, stranger = (Eyes(visitors, name, folder) for name in ("alice", "vera", ""))
    take_sign_in(stranger)
    take_queue(stack, alice, vera)
    take_help(stack, alice, vera)
    take_orders(stack, alice)
    take_what_goes_wrong(stack, alice, vera)
    take_away(stack, alice)
    visitors.leave()


def take_sign_in(stranger: Eyes) -> None:
    stranger.go("/sign-in/")
    stranger.shoot("sign-in")
    stranger.each(lambda page: page.get_by_label("Name").fill("alice"))
    stranger.each(lambda page: page.get_by_label("Password").fill("wrong"))
    stranger.each(lambda page: page.get_by_role("button", name="Sign in").click())
    stranger.shoot("sign-in-wrong")


def take_queue(stack: Stack, alice: Eyes, vera: Eyes) -> None:
    alice.go("/")
    alice.shoot("queue")
    alice.each(lambda page: page.locator("tr.row").nth(2).get_by_text("Reject…").click())
    alice.each(lambda page: page.locator("tr.row").nth(2).locator("textarea").fill("Card and address do not match"))
    alice.shoot("queue-reject")
    number = alice.pages["wide-light"].locator("tr.row").nth(2).locator("a.number").inner_text()
    stack.hands("approve", order=number, by="bob")
    stack.hands("place", name="Ida Newcomer", reviewed=True)
    alice.each(lambda page: expect(page.locator("tr.row").nth(2)).to_contain_text("Approved by bob"))
    alice.each(lambda page: expect(page.locator("#new")).to_be_visible())
    alice.shoot("queue-decided-while-typing")
    vera.go("/")
    vera.shoot("queue-viewer")


def take_help(stack: Stack, alice: Eyes, vera: Eyes) -> None:
    """Orders that need help: in the queue, each kind on its page, and the forms with their errors."""
    stranded, short = (stack.hands("with_status", status=status)[0] for status in ("undeliverable", "stock_short"))
    alice.go("/")
    alice.each(lambda page: page.locator(f"#queue-{stranded['id']}").get_by_text("Cancel…").click())
    alice.shoot("queue-cancel")
    alice.go("/orders/?status=attention")
    alice.shoot("orders-that-need-help")
    alice.go(f"/orders/{short['id']}/")
    alice.shoot("order-short", whole=True)
    alice.each(lambda page: page.get_by_text("Retry…").click())
    alice.shoot("order-retry")
    vera.go(f"/orders/{stranded['id']}/")
    vera.shoot("order-undeliverable-viewer")
    alice.go(f"/orders/{stranded['id']}/")
    alice.shoot("order-undeliverable", whole=True)
    alice.each(lambda page: page.get_by_text("Correct address…").click())
    alice.each(lambda page: page.get_by_label("Postal code").fill("7" * 30))
    alice.each(lambda page: page.get_by_role("button", name="Correct and retry").click())
    alice.each(lambda page: expect(page.locator(".wrong")).to_be_visible())
    alice.shoot("order-correct-wrong")


def take_orders(stack: Stack, alice: Eyes) -> None:
    alice.go("/orders/")
    alice.shoot("orders")
    alice.go("/orders/?status=completed")
    alice.shoot("orders-filtered")
    alice.go("/orders/?q=nobody+of+that+name")
    alice.shoot("orders-none")

    order = stack.hands("with_status", status="in_review")[0]
    alice.go(f"/orders/{order['id']}/")
    alice.shoot("order-in-review", whole=True)
    alice.each(lambda page: page.get_by_text("Reject…").click())
    alice.each(lambda page: page.locator(".decide textarea").fill("Card and address do not match"))
    alice.shoot("order-reject")
    stack.hands("approve", order=order["number"], by="bob")
    alice.each(lambda page: expect(page.locator(".news")).to_be_visible())
    alice.shoot("order-decided-while-typing")
    for status in ("completed", "rejected", "cancelled", "blocked"):
        alice.go(f"/orders/{stack.hands('with_status', status=status)[0]['id']}/")
        alice.shoot(f"order-{status}", whole=True)


def take_what_goes_wrong(stack: Stack, alice: Eyes, vera: Eyes) -> None:
    alice.go("/nothing-here/")
    alice.shoot("404")
    alice.go("/?after=nonsense")
    alice.shoot("400")
    order = stack.hands("with_status", status="in_review")[0]
    vera.go("/")
    vera.each(lambda page: page.evaluate(SEND_FORM, f"/orders/{order['id']}/approve/"))
    vera.each(lambda page: expect(page.get_by_text("You may not do that")).to_be_visible())
    vera.shoot("403")
    for template in ("500", "403_csrf"):
        code = f"from django.template.loader import render_to_string; print(render_to_string('{template}.html'))"
        said = stack.manage("shell", "--verbosity=0", "--command", code)
        answer = partial(Route.fulfill, body=said, content_type="text/html")
        alice.each(lambda page, answer=answer: page.route("**/broken/", lambda route: answer(route)))  # type: ignore[misc]
        alice.go("/broken/")
        alice.each(lambda page: page.unroute("**/broken/"))
        alice.shoot(template)


SEND_FORM = """path => {
  const form = document.createElement("form");
  form.method = "post";
  form.action = path;
  form.append(document.querySelector("[name=csrfmiddlewaretoken]").cloneNode());
  document.body.append(form);
  form.submit();
}"""


def take_away(stack: Stack, alice: Eyes) -> None:
    """Without Temporal, without workers, with nothing left to decide, and without the web server."""
    stack.worker.stop()
    for order in stack.hands("with_status", status="in_review")[:3]:
        stack.hands("approve", order=order["number"], by="dana")
    stack.hands("heartbeat", temporal_seconds_ago=240)
    alice.go("/")
    alice.shoot("temporal-away")
    alice.go("/orders/")
    stack.hands("heartbeat", seconds_ago=60, temporal_seconds_ago=60)
    alice.each(lambda page: expect(page.locator("#engine")).to_contain_text("No worker"))
    alice.shoot("no-worker")
    for order in stack.hands("with_status", status="in_review"):
        stack.hands("approve", order=order["number"], by="dana")
    for status in ("undeliverable", "stock_short"):
        for order in stack.hands("with_status", status=status):
            stack.hands("cancel", order=order["number"], by="dana")
    alice.go("/")
    alice.shoot("queue-empty")
    stack.web.stop()
    alice.each(lambda page: expect(page.locator("#live-sign")).to_contain_text("Not live since"))
    alice.shoot("not-live")


if __name__ == "__main__":
    main()
