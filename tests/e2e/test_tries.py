"""An order whose charge does not succeed, as somebody sees it who just leaves its page open."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.conftest import at_the_queue
from tests.e2e.shop import Shop
from tests.e2e.stack import Stack, Visitors, running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A desk whose bank is away."""
    with running(tmp_path_factory.mktemp("stack"), SIMULATOR_ERROR_RATE="1", LOG_FORMAT="json") as stack:
        yield stack


@pytest.fixture
def at_the_order(chromium_browser: Browser, stack: Stack) -> Iterator[Page]:
    visitors = Visitors(chromium_browser, stack)
    page = at_the_queue(visitors, "alice")
    order = stack.hands("place", reviewed=True)
    stack.hands("approve", order=order["number"], by="bob")
    page.goto(f"/orders/{order['id']}/")
    yield page
    visitors.leave()
    assert visitors.complaints == []


def test_each_try_and_the_time_to_the_next_appear_by_themselves_and_nothing_moves(at_the_order: Page) -> None:
    page = at_the_order
    trying, below = page.locator(".trying"), page.locator(".columns")
    expect(trying).to_contain_text(
        re.compile(r"Charging the card, \w+ try: the simulated provider is out of order\."), timeout=30_000
    )
    before, earlier = place_of(below), str(trying.get_attribute("title"))

    expect(trying).not_to_contain_text(earlier, timeout=40_000)

    expect(page.locator(".trying time")).to_have_text(re.compile(r"^(now|in \d+ s)$"))
    expect(trying).to_contain_text("Charging the card, ")
    assert place_of(below) == before
    expect(page.locator(".to-undo")).to_have_text("Give the money back and put the goods back")


def test_no_log_has_a_secret_or_anything_of_the_customer_while_calls_fail(stack: Stack) -> None:
    shop = Shop(stack)
    order = shop.place()

    while not shop.ask(order)["last_error"]:
        shop.wait(order, seconds=1)

    assert shop.private_in_logs(order) == []


def place_of(element: Locator) -> tuple[float, float]:
    box = element.bounding_box()
    assert box
    return box["x"], box["y"]
