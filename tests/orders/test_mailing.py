"""Which events customers are told of by mail, in which words, and whom we do not write to."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from pytest_django import Settings

from orders import demo
from orders.models import Mail, Order, Payment
from orders.services import fulfilling, mailing, paying, refunding, reviewing, shipping, undoing
from orders.services.actors import Actor
from orders.services.placing import NewLine
from orders.states import TERMINAL, TRANSITIONS, Status
from tests.conftest import PlaceOrder

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _with_mail(settings: Settings) -> None:
    settings.CUSTOMERS_GET_MAIL = True
    settings.EMAIL_FILE_PATH = ""
    settings.DEFAULT_FROM_EMAIL = "The Lamp Shop <orders@shop.example>"


def mails_of(order: Order) -> list[Mail]:
    return list(order.mails.all())


def kinds_of(order: Order) -> list[str]:
    return [mail.kind for mail in mails_of(order)]


def text_of(order: Order, kind: str) -> str:
    """The one mail of that kind, with its lines joined, so that it does not matter where they break."""
    return " ".join(order.mails.get(kind=kind).body.split())


def accepted(order: Order) -> Order:
    """Take an order that the policy lets pass as far as its stock is held."""
    for step in (reviewing.receive_order, reviewing.validate_order, fulfilling.reserve_stock):
        step(order_id=order.pk, at=NOW)
    return order


def charging(order: Order) -> Order:
    accepted(order)
    paying.begin_charge(order_id=order.pk, at=NOW)
    return order


def asking(order: Order) -> Order:
    """Take the order as far as the bank's wish that the customer confirms."""
    charging(order)
    paying.record_charge(order_id=order.pk, reference="ch_1", declined="", needs_customer=True, at=NOW)
    return order


def charged(order: Order) -> Order:
    charging(order)
    paying.record_charge(order_id=order.pk, reference="ch_1", declined="", at=NOW)
    return order


def dispatched(order: Order) -> Order:
    charged(order)
    for step in (shipping.begin_package, shipping.record_package, shipping.begin_dispatch):
        step(order_id=order.pk, at=NOW)
    shipping.record_dispatch(order_id=order.pk, carrier="Meridian", tracking_number="MP-77", at=NOW)
    order.refresh_from_db()
    assert order.status == "dispatched"
    return order


def undone(order: Order) -> Order:
    """What the engine does for an order that was cancelled or has failed."""
    undoing.begin_refund(order_id=order.pk, at=NOW)
    undoing.record_refund(order_id=order.pk, reference="re_1", at=NOW)
    undoing.release_stock(order_id=order.pk, at=NOW)
    undoing.finish_undo(order_id=order.pk, at=NOW)
    order.refresh_from_db()
    return order


@pytest.fixture
def small(place: PlaceOrder) -> Order:
    """An order of 200.00 EUR, which needs no review."""
    return place(lines=[NewLine("LAMP", 2, 10_000)])


# Which events


def test_no_order_ends_badly_without_a_word_to_the_customer() -> None:
    untold = {
        (before, action, after)
        for (before, action), after in TRANSITIONS.items()
        if after in TERMINAL and action not in mailing.ON_THE_WAY and after not in mailing.AT_THE_END
    }

    assert {after for _, _, after in untold} == {Status.COMPLETED}


def test_an_approved_order_is_confirmed_with_what_was_bought(order_in_review: Order, as_alice: Actor) -> None:
    reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=NOW, note="Knows the owner")

    [mail] = mails_of(order_in_review)
    assert (mail.kind, mail.recipient) == ("confirmed", "ann.lee@example.com")
    assert mail.subject == f"Order {order_in_review.number} is confirmed"
    assert mail.body.startswith("Hello Ann Lee,\n")
    assert "2 x Brass desk lamp: €1,200.00" in mail.body
    assert "Total: €1,200.00" in mail.body
    assert "Knows the owner" not in mail.body
    assert (mail.created_at, mail.next_try_at, mail.sent_at, mail.attempts) == (NOW, NOW, None, 0)


def test_the_message_id_is_made_of_the_order_and_the_event(order_in_review: Order, as_alice: Actor) -> None:
    reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=NOW)

    event = order_in_review.events.get(type="approve")
    assert mails_of(order_in_review)[0].message_id == f"<order-{order_in_review.pk}.{event.sequence}@shop.example>"


def test_an_order_that_passes_the_rules_is_confirmed_too(small: Order) -> None:
    accepted(small)

    assert kinds_of(small) == ["confirmed"]


def test_a_payment_to_confirm_is_told_with_the_amount_and_until_when(small: Order, settings: Settings) -> None:
    settings.PAYMENT_CONFIRM_WITHIN = timedelta(hours=3)

    asking(small)

    assert kinds_of(small) == ["confirmed", "confirm_payment"]
    assert mails_of(small)[1].subject == f"Please confirm the payment for order {small.number}"
    text = text_of(small, "confirm_payment")
    assert "the payment of €200.00 is yours" in text
    assert "by 21 November 2026, 12:00 UTC." in text


def test_the_carrier_having_it_is_told_with_tracking_number_and_address(small: Order) -> None:
    dispatched(small)
    fulfilling.complete_order(order_id=small.pk, at=NOW)

    assert kinds_of(small) == ["confirmed", "shipped"]
    text = text_of(small, "shipped")
    assert "with Meridian. Tracking number: MP-77" in text
    assert text.endswith("It goes to: Lindenstr. 4 10969 Berlin Germany")


def test_a_step_that_runs_twice_tells_once(small: Order) -> None:
    dispatched(small)

    reviewing.validate_order(order_id=small.pk, at=NOW)
    shipping.record_dispatch(order_id=small.pk, carrier="Meridian", tracking_number="MP-77", at=NOW)

    assert kinds_of(small) == ["confirmed", "shipped"]


def test_a_change_that_is_rolled_back_leaves_no_mail(order_in_review: Order, as_alice: Actor) -> None:
    with transaction.atomic():
        reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=NOW)
        transaction.set_rollback(True)

    assert mails_of(order_in_review) == []


def test_the_database_refuses_a_second_mail_about_an_event(small: Order) -> None:
    mail = mails_of(accepted(small))[0]
    mail.pk, mail.message_id = None, "<another@shop.example>"

    with pytest.raises(IntegrityError, match="mail_once_per_event"), transaction.atomic():
        mail.save(force_insert=True)


# How it ends, and what becomes of the money


def test_a_failed_order_says_how_much_goes_back(small: Order) -> None:
    charged(small)
    undoing.fail_order(order_id=small.pk, reason="The press broke: ask Bob", at=NOW)
    undone(small)

    assert small.status == "failed"
    assert kinds_of(small) == ["confirmed", "failed"]
    text = text_of(small, "failed")
    assert "we could not complete your order, and nothing will be sent. €200.00 goes back to the way you paid." in text
    assert "Bob" not in text


def test_a_declined_payment_is_told_as_such_and_not_the_banks_words(small: Order) -> None:
    accepted(small)
    paying.begin_charge(order_id=small.pk, at=NOW)
    paying.record_charge(order_id=small.pk, reference="", declined="stolen card", at=NOW)
    undone(small)

    text = text_of(small, "failed")
    assert "your payment was not accepted, so your order ends here, and nothing will be sent." in text
    assert "You have not been charged." in text
    assert "stolen" not in text


@pytest.mark.parametrize("money", [charging, asking, charged])
def test_while_the_way_of_the_money_is_not_known_the_order_does_not_end_and_nothing_is_said(
    small: Order, as_alice: Actor, money: Callable[[Order], Order]
) -> None:
    money(small)
    undoing.cancel(order_id=small.pk, actor=as_alice, at=NOW, reason="Mistake")

    undoing.release_stock(order_id=small.pk, at=NOW)

    assert undoing.finish_undo(order_id=small.pk, at=NOW) == "cancelling"

    assert "cancelled" not in kinds_of(small)


def test_a_cancel_before_the_charge_says_that_nothing_was_charged(order_in_review: Order, as_alice: Actor) -> None:
    undoing.cancel(order_id=order_in_review.pk, actor=as_alice, at=NOW, reason="Smells of fraud")

    assert kinds_of(order_in_review) == ["cancelled"]
    text = text_of(order_in_review, "cancelled")
    assert "Your order is cancelled, and nothing will be sent. You have not been charged." in text
    assert "fraud" not in text


def test_a_cancel_after_the_charge_is_told_when_it_is_undone_with_the_amount(small: Order, as_alice: Actor) -> None:
    charged(small)
    undoing.cancel(order_id=small.pk, actor=as_alice, at=NOW, reason="Mistake")
    assert kinds_of(small) == ["confirmed"]

    undone(small)

    assert kinds_of(small) == ["confirmed", "cancelled"]
    text = text_of(small, "cancelled")
    assert "€200.00 goes back to the way you paid." in text
    assert "not been charged" not in text


def test_a_cancel_whose_parcel_has_gone_after_all_does_not_say_that_nothing_will_be_sent(
    undeliverable_order: Order, as_alice: Actor
) -> None:
    undoing.cancel(order_id=undeliverable_order.pk, actor=as_alice, at=NOW, reason="Too late")
    shipping.record_recall(order_id=undeliverable_order.pk, carrier="Meridian", tracking_number="MP-77", at=NOW)

    undone(undeliverable_order)

    text = text_of(undeliverable_order, "cancelled")
    assert "Your order is cancelled; its parcel was on its way already. €200.00 goes back" in text
    assert "nothing will be sent" not in text


def test_a_rejection_quotes_no_colleague(order_in_review: Order, as_alice: Actor) -> None:
    reviewing.reject(order_id=order_in_review.pk, actor=as_alice, at=NOW, reason="Known for chargebacks")

    text = text_of(order_in_review, "not_accepted")
    assert "we could not accept your order, and nothing will be sent. You have not been charged." in text
    assert "chargeback" not in text


def test_a_deadline_that_passed_is_told_in_the_same_words(expired_order: Order) -> None:
    assert "we could not accept your order" in text_of(expired_order, "not_accepted")


def test_the_rules_keep_their_reasons_to_themselves(place: PlaceOrder) -> None:
    order = place(lines=[NewLine("KNIFE", 1, 5_000)])

    reviewing.receive_order(order_id=order.pk, at=NOW)
    reviewing.validate_order(order_id=order.pk, at=NOW)

    assert kinds_of(order) == ["not_accepted"]
    assert "weapon" not in text_of(order, "not_accepted").lower()


def test_an_invalid_order_is_told_as_one_that_was_not_accepted(small: Order) -> None:
    Order.objects.filter(pk=small.pk).update(total_minor=1)

    accepted(small)

    assert kinds_of(small) == ["not_accepted"]


def test_each_refund_that_an_operator_granted_is_told_when_the_bank_has_made_it(small: Order, lead: User) -> None:
    dispatched(small)
    fulfilling.complete_order(order_id=small.pk, at=NOW)
    for number, amount in ((1, 5_000), (2, 2_550)):
        grant = {"amount_minor": amount, "reason": "Bob dropped it", "actor": Actor.operator(lead)}
        refunding.refund(order_id=small.pk, at=NOW, **grant)  # type: ignore[arg-type]
        assert len(mails_of(small)) == 1 + number
        refunding.settle_refund(order_id=small.pk, number=number, reference=f"re_{number}", at=NOW)
        refunding.settle_refund(order_id=small.pk, number=number, reference=f"re_{number}", at=NOW)

    assert kinds_of(small) == ["confirmed", "shipped", "refunded", "refunded"]
    first, second = mails_of(small)[2:]
    assert "We have refunded €50.00 of what you paid." in first.body
    assert "We have refunded €25.50 of what you paid." in second.body
    assert "Bob" not in first.body
    assert first.message_id != second.message_id


def test_a_refund_that_the_bank_did_not_make_is_not_told(small: Order, lead: User) -> None:
    dispatched(small)
    fulfilling.complete_order(order_id=small.pk, at=NOW)
    actor = Actor.operator(lead)
    refunding.refund(order_id=small.pk, amount_minor=5_000, reason="Late", actor=actor, at=NOW)

    refunding.settle_refund(order_id=small.pk, number=1, reference="", at=NOW)

    assert Payment.objects.get(order=small, kind="refund").status == "failed"
    assert kinds_of(small) == ["confirmed", "shipped"]


# To whom


def test_nobody_gets_mail_where_no_server_is_named(small: Order, settings: Settings) -> None:
    settings.CUSTOMERS_GET_MAIL = False

    dispatched(small)

    assert mails_of(small) == []


def test_an_order_without_an_address_goes_its_way_without_mail(place: PlaceOrder) -> None:
    order = place(lines=[NewLine("RUG", 1, 5_000)], customer_email="")

    dispatched(order)

    assert mails_of(order) == []


@pytest.mark.parametrize(("age", "told"), [(timedelta(days=7), True), (timedelta(days=7, seconds=1), False)])
def test_the_age_at_which_an_order_came_in_decides_whether_it_is_news(
    place: PlaceOrder, settings: Settings, age: timedelta, told: bool
) -> None:
    settings.MAIL_ORDERS_UP_TO = timedelta(days=7)
    order = place(lines=[NewLine("RUG", 1, 5_000)])
    came_in = order.events.get(sequence=1).at
    Order.objects.filter(pk=order.pk).update(placed_at=came_in - age)

    accepted(order)

    assert kinds_of(order) == (["confirmed"] if told else [])


def test_an_order_that_waited_long_for_a_decision_is_news_all_the_same(order_in_review: Order, as_alice: Actor) -> None:
    later = datetime.now(UTC) + timedelta(days=40)

    reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=later)

    assert kinds_of(order_in_review) == ["confirmed"]


@pytest.mark.parametrize(("folder", "told"), [("/somewhere", ["confirmed"]), ("", [])])
def test_mails_of_demonstration_orders_go_no_further_than_a_folder(
    place: PlaceOrder, settings: Settings, folder: str, told: list[str]
) -> None:
    settings.EMAIL_FILE_PATH = folder
    order = place(source=demo.SOURCE, lines=[NewLine("RUG", 1, 5_000)])

    accepted(order)

    assert kinds_of(order) == told


# What names may hold


@pytest.mark.parametrize("name", ["שרה לוי", "Zoë 🎈 Ng", "O'Brien & <b>Sons</b>", "x" * 200])
def test_a_name_stands_in_the_mail_as_it_was_given(place: PlaceOrder, name: str) -> None:
    order = place(customer_name=name, lines=[NewLine("RUG", 1, 5_000)])

    accepted(order)

    assert mails_of(order)[0].body.startswith(f"Hello {name},\n")


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\u2028", "\x85", "\v"])
def test_a_line_break_in_a_name_begins_no_line(small: Order, end: str) -> None:
    Order.objects.filter(pk=small.pk).update(customer_name=f"Ann{end}Bcc: all@example.com{end}{end}You have won.")

    accepted(small)

    [mail] = mails_of(small)
    assert mail.body.splitlines()[0] == "Hello Ann Bcc: all@example.com You have won.,"
    assert mail.subject == f"Order {small.number} is confirmed"


def test_a_thousand_lines_make_a_mail_that_can_be_read(place: PlaceOrder) -> None:
    order = place(lines=[NewLine("RUG", 1, 20)] * 1_000)

    accepted(order)

    body = mails_of(order)[0].body
    assert body.count("1 x Wool rug") == 50
    assert "and 950 more" in body
    assert "Total: €200.00" in body
