"""A desk for the browser tests, and people who come to it. Nothing here may use the ORM: see `hands`."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.stack import Stack, Visitors, chromium, running

expect.set_options(timeout=20_000)


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(autouse=True)
def _an_empty_queue(stack: Stack) -> None:
    """Fifty rows that other tests left would be drawn on every page."""
    stack.hands("clear_the_queue")


@pytest.fixture(scope="package")
def chromium_browser() -> Iterator[Browser]:
    """For these tests alone: as long as Playwright runs, nothing else in this thread may use asyncio or the ORM."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visitors(chromium_browser: Browser, stack: Stack) -> Iterator[Visitors]:
    visitors = Visitors(chromium_browser, stack)
    yield visitors
    visitors.leave()
    assert visitors.complaints == []


@pytest.fixture
def alice(visitors: Visitors) -> Page:
    """Alice, an operator, before the queue."""
    return at_the_queue(visitors, "alice")


@pytest.fixture
def bob(visitors: Visitors) -> Page:
    return at_the_queue(visitors, "bob")


def at_the_queue(visitors: Visitors, name: str, **options: object) -> Page:
    page = visitors.browser_of(name, **options).new_page()
    page.goto("/")
    expect(page.locator("#live-sign")).to_have_text("Live")
    return page
