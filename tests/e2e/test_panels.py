"""The panels of an order's page: what is typed stays, what is wrong gets the focus, what is possible stays so."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.stack import Stack


@pytest.fixture
def no_worker(stack: Stack) -> Iterator[None]:
    """Nothing moves by itself."""
    stack.worker.stop()
    yield
    stack.worker.start()


def test_an_address_is_corrected_until_it_is_right(stack: Stack, alice: Page) -> None:
    order = stack.hands("place", name="Moving House", reviewed=True)
    alice.goto(f"/orders/{order['id']}/")
    alice.get_by_text("Change address…").click()
    street = alice.get_by_label("Street and number")
    expect(street).to_be_focused()
    street.fill("5 rue Cler")
    alice.get_by_label("Postal code").fill("7" * 30)
    alice.get_by_label("Town").fill("Paris")
    alice.get_by_label("Country").select_option("France")

    alice.get_by_role("button", name="Change address").click()

    expect(alice.get_by_role("alert")).to_have_text("Postal code is longer than 20 characters.")
    expect(alice.get_by_label("Postal code")).to_be_focused()
    expect(street).to_have_value("5 rue Cler")
    expect(alice.get_by_label("Country")).to_have_value("FR")
    alice.get_by_label("Postal code").fill("75007")
    alice.get_by_role("button", name="Change address").click()

    expect(alice.locator("address")).to_contain_text("75007 Paris")
    expect(alice.locator(".timeline")).to_contain_text("Address changed by alice")


def test_what_is_typed_into_an_address_survives_what_others_do(stack: Stack, alice: Page, no_worker: None) -> None:
    order = stack.hands("place", name="Typing Still", reviewed=True)
    alice.goto(f"/orders/{order['id']}/")
    expect(alice.locator("#live-sign")).to_have_text("Live")
    alice.get_by_text("Change address…").click()
    alice.get_by_label("Town").fill("Paris")
    alice.get_by_role("heading", name="Timeline").click()

    stack.hands("approve", order=order["number"], by="bob")

    expect(alice.locator(".timeline")).to_contain_text("Approved by bob")
    expect(alice.get_by_label("Town")).to_have_value("Paris")
    alice.get_by_role("button", name="Change address").click()
    expect(alice.get_by_role("alert")).to_contain_text("Approved by bob")
    expect(alice.get_by_label("Town")).to_have_value("Paris")
    alice.get_by_role("button", name="Change address").click()
    expect(alice.locator("address")).to_contain_text("Paris")


def test_a_cancel_that_is_possible_still_is_told_of_anothers_decision_and_then_carried_out(
    stack: Stack, alice: Page, no_worker: None
) -> None:
    order = stack.hands("place", name="Second Thoughts", reviewed=True)
    alice.goto(f"/orders/{order['id']}/")
    expect(alice.locator("#live-sign")).to_have_text("Live")
    alice.get_by_text("Cancel order…").click()
    alice.get_by_label("Why is it cancelled?").fill("She called")
    stack.hands("approve", order=order["number"], by="bob")
    expect(alice.locator(".timeline")).to_contain_text("Approved by bob")

    alice.get_by_role("button", name="Cancel order").click()
    expect(alice.get_by_role("alert")).to_contain_text("Approved by bob")
    expect(alice.get_by_label("Why is it cancelled?")).to_have_value("She called")
    alice.get_by_role("button", name="Cancel order").click()

    expect(alice.get_by_role("heading", name=order["number"])).to_contain_text("Cancelled")
    assert stack.hands("decisions", order=order["number"]) == [["approve", "bob"], ["cancel", "alice"]]


def test_an_amount_that_is_wrong_gets_the_focus(stack: Stack, alice: Page) -> None:
    order = stack.hands("place", name="Came Late", quantity=1, reviewed=True)
    stack.hands("approve", order=order["number"], by="bob")
    alice.goto(f"/orders/{order['id']}/")
    expect(alice.get_by_role("heading", name=order["number"])).to_contain_text("Completed")
    alice.get_by_text("Refund…").click()
    alice.get_by_label("How much goes back").fill("300")
    alice.get_by_label("Why is it refunded?").fill("It came late")

    alice.get_by_role("button", name="Refund this amount").click()

    expect(alice.get_by_role("alert")).to_contain_text("You may refund up to")
    expect(alice.get_by_label("How much goes back")).to_be_focused()
    expect(alice.get_by_label("Why is it refunded?")).to_have_value("It came late")


def test_the_button_stays_under_the_pointer_while_the_address_is_looked_at(stack: Stack, alice: Page) -> None:
    """To press it ends the typing, upon which it is told what would change."""
    order = stack.hands("place", name="Pia Pointer", reviewed=True)
    alice.goto(f"/orders/{order['id']}/")
    expect(alice.locator("#live-sign")).to_have_text("Live")
    alice.get_by_text("Change address…").click()
    alice.get_by_label("Town").fill("Potsdam")

    alice.get_by_role("button", name="Change address", exact=True).hover()
    alice.mouse.down()
    expect(alice.locator(f"#address-check-{order['id']}")).to_contain_text("Potsdam")
    alice.mouse.up()

    expect(alice.locator(".timeline")).to_contain_text("Address changed by alice")
