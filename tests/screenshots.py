"""`python -m tests.screenshots`: take the README's pictures of a desk with made-up orders, on free ports.

`--all FOLDER` takes every page and state instead, wide and narrow, light and dark, to be looked at.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.e2e.stack import BASE, Service, Stack, Visitors, chromium, running
from tests.servers import environment_of_the_run

README = BASE / "docs" / "screenshots"
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page and state, into this folder")
    folder = parser.parse_args().all
    import os

    with tempfile.TemporaryDirectory() as logs, environment_of_the_run() as found:
        os.environ |= found
        with running(Path(logs), TEMPORAL_UI_URL="http://127.0.0.1:8233") as stack, chromium() as browser:
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


def take_all(stack: Stack, browser: Browser, folder: Path) -> None:
    """Every state in turn; each is photographed in the four looks before the next is brought about."""
    folder.mkdir(parents=True, exist_ok=True)
    visitors = Visitors(browser, stack)
    looks: dict[str, dict[str, Any]] = {
        "wide-light": {"viewport": WIDE, "color_scheme": "light"},
        "wide-dark": {"viewport": WIDE, "color_scheme": "dark"},
        "narrow-light": {"viewport": NARROW, "color_scheme": "light"},
        "narrow-dark": {"viewport": NARROW, "color_scheme": "dark"},
    }
    pages = {look: visitors.browser_of("alice", **options).new_page() for look, options in looks.items()}
    strangers = {look: visitors.browser(**options).new_page() for look, options in looks.items()}
    viewers = {look: visitors.browser_of("vera", **options).new_page() for look, options in looks.items()}

    def shoot(name: str, those: dict[str, Page] = pages, *, whole: bool = False) -> None:
        for look, page in those.items():
            page.screenshot(path=folder / f"{name}-{look}.png", full_page=whole, animations="disabled")

    def go(path: str, those: dict[str, Page] = pages) -> None:
        for page in those.values():
            page.goto(path)
            if page.locator("#live-sign").count():
                expect(page.locator("#live-sign")).to_have_text("Live")

    def each(do: Callable[[Page], object], those: dict[str, Page] = pages) -> None:
        for page in those.values():
            do(page)

    waiting = stack.hands("with_status", status="in_review")

    go("/sign-in/", strangers)
    shoot("sign-in", strangers)
    each(lambda page: page.get_by_label("Name").fill("alice"), strangers)
    each(lambda page: page.get_by_label("Password").fill("wrong"), strangers)
    each(lambda page: page.get_by_role("button", name="Sign in").click(), strangers)
    shoot("sign-in-wrong", strangers)

    go("/")
    shoot("queue")
    each(lambda page: page.locator("tr.row").nth(2).get_by_text("Reject…").click())
    each(lambda page: page.locator("tr.row").nth(2).locator("textarea").fill("Card and address do not match"))
    shoot("queue-reject")
    first = stack.hands("with_status", status="in_review")
    shown = pages["wide-light"].locator("tr.row").nth(2).get_attribute("data-order")
    number = next(order["number"] for order in first if order["id"] == shown)
    stack.hands("approve", order=number, by="bob")
    stack.hands("place", name="Ida Newcomer", reviewed=True)
    each(lambda page: expect(page.locator("tr.row").nth(2)).to_contain_text("Approved by bob"))
    shoot("queue-decided-while-typing")
    go("/", viewers)
    shoot("queue-viewer", viewers)

    go("/orders/")
    shoot("orders")
    go("/orders/?status=completed")
    shoot("orders-filtered")
    go("/orders/?q=nobody+of+that+name")
    shoot("orders-none")

    go(f"/orders/{waiting[0]['id']}/")
    shoot("order-in-review", whole=True)
    each(lambda page: page.get_by_text("Reject…").click())
    each(lambda page: page.locator(".decide textarea").fill("Card and address do not match"))
    shoot("order-reject")
    stack.hands("approve", order=waiting[0]["number"], by="bob")
    each(lambda page: expect(page.locator(".news")).to_be_visible())
    shoot("order-decided-while-typing")
    for status in ("completed", "rejected", "cancelled", "blocked"):
        go(f"/orders/{stack.hands('with_status', status=status)[0]['id']}/")
        shoot(f"order-{status}", whole=True)

    go("/nothing-here/")
    shoot("404")
    go("/?after=nonsense")
    shoot("400")
    in_review = stack.hands("with_status", status="in_review")[0]["id"]
    token = "document.cookie.match(/csrf=(\\w+)/)[1]"
    go("/", viewers)
    each(
        lambda page: page.evaluate(
            f"""path => {{
              const form = document.createElement("form");
              form.method = "post"; form.action = path;
              form.innerHTML = `<input name="csrfmiddlewaretoken" value="${{{token}}}">`;
              document.body.append(form); form.submit();
            }}""",
            f"/orders/{in_review}/approve/",
        ),
        viewers,
    )
    each(lambda page: expect(page.get_by_text("You may not do that")).to_be_visible(), viewers)
    shoot("403", viewers)
    for template in ("500", "403_csrf"):
        say = f"from django.template.loader import render_to_string; print(render_to_string('{template}.html'))"
        body = re.sub(r"^.*?(?=<!doctype)", "", stack.manage("shell", "-v0", "-c", say), flags=re.DOTALL)
        each(
            lambda page, body=body: page.route(
                "**/broken/", lambda route: route.fulfill(body=body, content_type="text/html")
            )
        )
        go("/broken/")
        shoot(template)
        each(lambda page: page.unroute("**/broken/"))

    stack.worker.stop()
    stack.hands("heartbeat", temporal_seconds_ago=240)
    for order in stack.hands("with_status", status="in_review")[:3]:
        stack.hands("approve", order=order["number"], by="dana")
    stack.hands("heartbeat", temporal_seconds_ago=240)
    go("/")
    shoot("temporal-away")
    go("/orders/")
    stack.hands("heartbeat", seconds_ago=60, temporal_seconds_ago=60)
    each(lambda page: expect(page.locator("#engine")).to_contain_text("No worker"))
    shoot("no-worker")
    for order in stack.hands("with_status", status="in_review"):
        stack.hands("approve", order=order["number"], by="dana")
    go("/")
    shoot("queue-empty")
    stack.web.stop()
    each(lambda page: expect(page.locator("#live-sign")).to_contain_text("Not live since"))
    shoot("not-live")
    visitors.leave()


if __name__ == "__main__":
    main()
