"""Every page of the desk in every state, one after another: to be photographed, and to be examined.

Whoever walks is told of each by its name, once for each look: a width, and light or dark.
"""

import re
import time
from base64 import b32decode
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import psycopg
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e.stack import PASSWORD, Stack, Visitors


class Look(NamedTuple):
    width: int
    height: int
    scheme: Literal["light", "dark"]

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}"


WIDE = Look(1440, 900, "light")
LOOKS = tuple(
    Look(width, height, scheme)
    for width, height in ((390, 844), (1024, 768), (1440, 900))
    for scheme in ("dark", "light")  # the last is how the page goes on
)
See = Callable[[Page, str, Look], None]


class Eyes:
    """One person's page, and who looks at it."""

    def __init__(self, visitors: Visitors, name: str, see: See, looks: tuple[Look, ...]) -> None:
        self._see, self._looks, self._now = see, looks, looks[-1]
        size: Any = {"width": looks[-1].width, "height": looks[-1].height}
        options = {"viewport": size, "color_scheme": looks[-1].scheme, "reduced_motion": "reduce"}
        self.page = (visitors.browser_of(name, **options) if name else visitors.browser(**options)).new_page()

    def go(self, path: str) -> None:
        self.page.goto(path)
        if self.page.locator("#live-sign").count():
            expect(self.page.locator("#live-sign")).to_have_text("Live")

    def look(self, name: str) -> None:
        for look in self._looks:
            if look[:2] != self._now[:2]:
                self.page.set_viewport_size({"width": look.width, "height": look.height})
            if look.scheme != self._now.scheme:
                self.page.emulate_media(color_scheme=look.scheme)
            self._now = look
            self._see(self.page, name, look)


def fill(stack: Stack, *, orders: int = 44) -> None:
    """Play a shop's day, and decide a part of what it brings."""
    stack.hands("play_a_day", orders=orders)
    wait_until_none_is(stack, "placed", "received", "validated")
    waiting = stack.hands("with_status", status="in_review")
    for number, by in zip(waiting[4:10], ["alice", "bob", "dana"] * 2, strict=True):
        stack.hands("approve", order=number["number"], by=by)
    stack.hands("reject", order=waiting[11]["number"], by="bob", reason="Card issued in another country; no answer.")
    stack.hands("cancel", order=waiting[12]["number"], by="alice")
    wait_until_none_is(stack, "approved", "reserved", "charged")


def wait_until_none_is(stack: Stack, *statuses: str, seconds: float = 120) -> None:
    """Looks again whenever an order has changed."""
    until = time.monotonic() + seconds
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute("LISTEN orders_changed")
        while any(stack.hands("with_status", status=status) for status in statuses):
            if not list(connection.notifies(timeout=until - time.monotonic(), stop_after=1)):
                raise TimeoutError(f"Orders are still {' or '.join(statuses)}.")


def walk(stack: Stack, visitors: Visitors, see: See, looks: tuple[Look, ...] = LOOKS) -> None:
    """The desk asks for second factors. Leaves it with nothing to decide, without workers and its web server."""
    alice, vera, stranger, dana, erin = (Eyes(visitors, name, see, looks) for name in ("alice", "vera", "", "", ""))
    sign_in(stranger)
    second_factor(dana, erin)
    queue(stack, alice, vera)
    pane(alice)
    at_once(alice)
    around(alice, dana)
    help_needed(stack, alice, vera)
    orders(stack, alice)
    asking(stack, alice, stranger)
    what_goes_wrong(stack, alice, vera)
    away(stack, alice, dana)


def sign_in(stranger: Eyes) -> None:
    stranger.go("/sign-in/")
    stranger.look("sign-in")
    page = stranger.page
    page.get_by_label("Name").fill("alice")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    stranger.look("sign-in-wrong")


def second_factor(dana: Eyes, erin: Eyes) -> None:
    """A lead sets one up, and shows it the next time; an admin sees who has one, and may reset it."""
    password(dana, "dana")
    dana.look("second-factor-set-up")
    show_code(dana)
    expect(dana.page.locator(".recovery li")).to_have_count(8)
    dana.look("recovery-codes")
    recovery = dana.page.locator(".recovery li").first.inner_text()
    dana.page.context.clear_cookies()
    password(dana, "dana")
    dana.look("second-factor")
    dana.page.get_by_role("textbox", name="code").fill("no code")
    dana.page.get_by_role("button", name="Sign in").click()
    expect(dana.page.get_by_role("alert")).to_be_visible()
    dana.look("second-factor-wrong")
    dana.page.get_by_role("textbox", name="code").fill(recovery)
    dana.page.get_by_role("button", name="Sign in").click()
    expect(dana.page.locator("#live-sign")).to_have_text("Live")
    password(erin, "erin")
    show_code(erin)
    erin.page.get_by_text("I have kept them").click()
    erin.go("/second-factors/")
    erin.page.get_by_label("Reset the second factor of dana").click()
    erin.look("second-factors")


def password(eyes: Eyes, name: str) -> None:
    eyes.page.goto("/sign-in/")
    eyes.page.get_by_label("Name").fill(name)
    eyes.page.get_by_label("Password").fill(PASSWORD)
    eyes.page.get_by_role("button", name="Sign in").click()
    eyes.page.wait_for_url("**/sign-in/second-factor/")


def show_code(eyes: Eyes) -> None:
    """As an authenticator app makes it of the key that is shown."""
    secret = b32decode(eyes.page.locator(".key").inner_text().replace(" ", ""))
    eyes.page.get_by_role("textbox", name="code").fill(TOTP(secret, 6, SHA1(), 30).generate(time.time()).decode())  # noqa: S303
    eyes.page.locator("button.primary").click()


def to_be_decided(page: Page, place: int) -> Locator:
    """A row by its order: it stays the same whatever happens to the list."""
    rows = page.locator("tr.row", has=page.get_by_text("Reject…"))
    return page.locator(f"#{rows.nth(place).get_attribute('id')}")


def queue(stack: Stack, alice: Eyes, vera: Eyes) -> None:
    alice.go("/")
    alice.look("queue")
    page = alice.page
    row = to_be_decided(page, 2)
    row.get_by_text("Reject…").click()
    row.locator("textarea").first.fill("Card and address do not match")
    alice.look("queue-reject")
    stack.hands("approve", order=row.locator("a.number").inner_text(), by="bob")
    stack.hands("place", name="Ida Newcomer", reviewed=True)
    expect(row).to_contain_text("Approved by bob")
    expect(page.locator("#new")).to_be_visible()
    alice.look("queue-decided-while-typing")
    alice.go("/?q=nobody+of+that+name")
    alice.look("queue-none-fits")
    alice.go("/?sort=amount&country=DE")
    alice.look("queue-filtered")
    vera.go("/")
    vera.look("queue-viewer")


def pane(alice: Eyes) -> None:
    """An order beside the list, and what its keys are."""
    alice.go("/")
    page = alice.page
    to_be_decided(page, 1).locator("a.number").click()
    expect(page.locator("#opened > article")).to_be_visible()
    alice.look("queue-open")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    alice.look("keys")
    page.keyboard.press("Escape")


def at_once(alice: Eyes) -> None:
    """Several orders chosen, what would become of them, and what became of them."""
    alice.go("/bulk/")
    alice.look("bulk-none")
    alice.go("/")
    page = alice.page
    for box in page.get_by_role("checkbox", name="Choose").all()[:2]:
        box.check()
    alice.look("queue-chosen")
    page.locator("button[name=action][value=reject]").click()
    expect(page.get_by_label("Why are they rejected?")).to_be_focused()
    alice.look("bulk-preview")
    page.get_by_label("Why are they rejected?").select_option("fraud")
    page.get_by_label("What is there to say?").fill("Card and address do not match")
    page.get_by_role("button", name=re.compile("^Reject")).click()
    expect(page.locator(".results")).to_be_visible()
    alice.look("bulk")
    alice.go("/bulk/")
    alice.look("bulk-list")


def around(alice: Eyes, dana: Eyes) -> None:
    for path in ("me", "roles", "mentions"):
        alice.go(f"/{path}/")
        alice.look(path)
    for path in ("team", "reasons", "health"):
        dana.go(f"/{path}/")
        dana.look(path)


def help_needed(stack: Stack, alice: Eyes, vera: Eyes) -> None:
    """Orders that need help: in the queue, each kind on its page, and the forms with their errors."""
    stranded, short = (stack.hands("with_status", status=status)[0] for status in ("undeliverable", "stock_short"))
    page = alice.page
    alice.go("/orders/?status=attention")
    alice.look("orders-that-need-help")
    alice.go(f"/orders/{short['id']}/")
    alice.look("order-short")
    page.get_by_text("Retry…").first.click()
    alice.look("order-retry")
    vera.go(f"/orders/{stranded['id']}/")
    vera.look("order-undeliverable-viewer")
    alice.go(f"/orders/{stranded['id']}/")
    alice.look("order-undeliverable")
    page.get_by_text("Correct address…").click()
    page.get_by_label("Postal code").fill("7" * 30)
    page.get_by_role("button", name="Correct and retry").click()
    expect(page.locator(".wrong").first).to_be_visible()
    alice.look("order-correct-wrong")


def orders(stack: Stack, alice: Eyes) -> None:
    for name, query in {"orders": "", "orders-filtered": "?status=completed", "orders-none": "?q=nobody"}.items():
        alice.go(f"/orders/{query}")
        alice.look(name)

    order, page = stack.hands("with_status", status="in_review")[0], alice.page
    alice.go(f"/orders/{order['id']}/")
    alice.look("order-in-review")
    for name in ("Ask customer…", "Put off…", "Change address…"):
        if (panel := page.get_by_text(name)).count():
            panel.first.click()
            alice.look(f"order-{name.split()[0].lower()}")
            page.keyboard.press("Escape")
    page.locator("textarea[name=text]").first.fill("@bob please call her")
    page.get_by_role("button", name="Add note").first.click()
    expect(page.locator(".notes")).to_contain_text("please call her")
    page.get_by_text("Reject…").first.click()
    page.locator(".decide textarea").first.fill("Card and address do not match")
    alice.look("order-reject")
    stack.hands("approve", order=order["number"], by="bob")
    expect(page.locator(".news")).to_be_visible()
    alice.look("order-decided-while-typing")
    alice.go(f"/orders/{order['id']}/print/")
    alice.look("print")
    for status in ("rejected", "cancelled", "blocked", "completed"):
        alice.go(f"/orders/{stack.hands('with_status', status=status)[0]['id']}/")
        alice.look(f"order-{status}")
    alice.go(page.url + "history/")
    alice.look("history")


def asking(stack: Stack, alice: Eyes, customer: Eyes) -> None:
    """An order that waits for its customer's answer, and the page where that is given."""
    order, page = stack.hands("place", name="Flat Hunter", reviewed=True), alice.page
    alice.go(f"/orders/{order['id']}/")
    page.get_by_text("Ask customer…").click()
    page.get_by_label("What do you ask Flat Hunter?").fill("Which flat is it?")
    alice.look("order-ask")
    page.get_by_role("button", name="Ask customer", exact=True).click()
    expect(page.locator(".put-off")).to_be_visible()
    alice.look("order-put-off")
    link = re.search(r"/answer/\S+", stack.hands("mail", order=order["number"], kind="question"))
    customer.go(link[0] if link else "")
    customer.look("answer")
    customer.page.get_by_label("Your answer").fill("The second, on the left")
    customer.page.get_by_role("button", name="Send answer").click()
    expect(customer.page.get_by_role("status")).to_contain_text("Thank you")
    customer.look("answered")


def what_goes_wrong(stack: Stack, alice: Eyes, vera: Eyes) -> None:
    alice.go("/nothing-here/")
    alice.look("404")
    alice.go("/?after=nonsense")
    alice.look("400")
    order = stack.hands("with_status", status="in_review")[0]
    vera.go("/")
    vera.page.evaluate(SEND_FORM, f"/orders/{order['id']}/approve/")
    expect(vera.page.get_by_text("You may not do that")).to_be_visible()
    vera.look("403")
    for template in ("500", "503", "403_csrf"):
        alice.page.route("**/broken/", partial(show, stack.hands("page_of", template=f"{template}.html")))
        alice.go("/broken/")
        alice.page.unroute("**/broken/")
        alice.look(template)


def show(page: str, route: Route) -> None:
    route.fulfill(body=page, content_type="text/html")


SEND_FORM = """path => {
  const form = document.createElement("form");
  form.method = "post";
  form.action = path;
  form.append(document.querySelector("[name=csrfmiddlewaretoken]").cloneNode());
  document.body.append(form);
  form.submit();
}"""


def away(stack: Stack, alice: Eyes, dana: Eyes) -> None:
    """Without Temporal, without workers, with nothing left to decide, and without the web server."""
    stack.worker.stop()
    for order in stack.hands("with_status", status="in_review")[:3]:
        stack.hands("approve", order=order["number"], by="dana")
    stack.hands("heartbeat", temporal_seconds_ago=240)
    alice.go("/")
    alice.look("temporal-away")
    alice.go("/orders/")
    stack.hands("heartbeat", seconds_ago=60, temporal_seconds_ago=60)
    expect(alice.page.locator("#engine")).to_contain_text("No worker")
    alice.look("no-worker")
    stack.hands("forget", order=stack.hands("place", name="Stands Still", reviewed=True)["number"])
    dana.go("/health/")
    dana.page.get_by_text("Cancel…").first.click()
    dana.look("health-no-worker")
    for order in stack.hands("with_status", status="in_review"):
        stack.hands("approve", order=order["number"], by="dana")
    for status in ("undeliverable", "stock_short"):
        for order in stack.hands("with_status", status=status):
            stack.hands("cancel", order=order["number"], by="dana")
    alice.go("/")
    alice.look("queue-empty")
    stack.web.stop()
    expect(alice.page.locator("#live-sign")).to_contain_text("Not live since")
    alice.look("not-live")
