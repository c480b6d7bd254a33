"""The raw records in a browser, under the same content security policy as every page of the desk."""

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.e2e.stack import Stack, Visitors


@pytest.fixture
def erin(visitors: Visitors) -> BrowserContext:
    return visitors.browser_of("erin")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "orders/order/",
        "orders/event/",
        "orders/payment/?status__exact=failed",
        "orders/product/",
        "orders/product/add/",
        "auth/user/",
        "auth/user/add/",
        "auth/group/",
        "password_change/",
    ],
)
def test_a_page_of_records_breaks_no_policy(erin: BrowserContext, path: str) -> None:
    page = erin.new_page()

    answer = page.goto(f"/admin/{path}", wait_until="networkidle")

    assert answer is not None
    assert answer.ok
    policy = answer.header_value("content-security-policy") or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    expect(page.get_by_role("link", name="Countersign records")).to_be_visible()


def test_the_records_of_an_order_lead_to_it_at_the_desk(erin: BrowserContext, stack: Stack) -> None:
    number = stack.hands("place")["number"]
    page = erin.new_page()

    page.goto(f"/admin/orders/order/?q={number}")
    page.get_by_role("link", name=number).click()
    expect(page.get_by_role("heading", name="Events")).to_be_visible()
    page.get_by_role("link", name="View on site").click()

    expect(page.get_by_role("heading", name=number)).to_be_visible()


def test_scripts_and_styles_run_there(erin: BrowserContext) -> None:
    page = erin.new_page()
    page.goto("/admin/auth/user/?q=vera")
    page.get_by_role("link", name="vera").click()

    page.locator("#id_groups_from").select_option(label="lead")
    page.get_by_role("button", name="Choose selected groups").click()

    expect(page.locator("#id_groups_to option")).to_have_text(["viewer", "lead"])


def test_a_breach_of_the_policy_would_be_heard(erin: BrowserContext, visitors: Visitors) -> None:
    page = erin.new_page()
    page.goto("/admin/")

    with page.expect_console_message():
        page.evaluate("() => document.body.setAttribute('style', 'color: red')")

    assert any("Content Security Policy" in complaint for complaint in visitors.complaints)
    visitors.complaints.clear()
