"""Who acts on a page acts on what was on it: where something has happened since that matters, they look again."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from orders.models import Order
from orders.services import addressing, asking, attending, claiming, fulfilling, noting, reviewing, signalling, undoing
from orders.services.actors import Actor
from orders.services.holding import NeverSeen, PageIsStale
from orders.services.placing import Address
from orders.states import Action

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PARIS = Address("FR", line1="5 rue Cler", city="Paris", postal_code="75007")


def change_address(order: Order, who: Actor) -> None:
    """By somebody who does not keep the order in hand."""
    addressing.change_address(order_id=order.pk, actor=who, at=NOW, address=PARIS)
    claiming.unclaim(order_id=order.pk, actor=who, at=NOW)


ACTS: dict[str, Callable[[Order, Actor, int], object]] = {
    "approve": lambda order, who, seen: reviewing.approve(order_id=order.pk, actor=who, at=NOW, seen=seen),
    "reject": lambda order, who, seen: reviewing.reject(order_id=order.pk, actor=who, at=NOW, reason="No", seen=seen),
    "cancel": lambda order, who, seen: undoing.cancel(order_id=order.pk, actor=who, at=NOW, reason="", seen=seen),
    "change_address": lambda order, who, seen: addressing.change_address(
        order_id=order.pk,
        actor=who,
        at=NOW,
        address=Address("IT", line1="Via Cavour 8", city="Rome", region="RM", postal_code="00184"),
        seen=seen,
    ),
}


@pytest.mark.parametrize("act", ACTS)
def test_what_matters_and_came_since_refuses_the_act_and_is_told(
    order_in_review: Order, as_alice: Actor, as_bob: Actor, act: str
) -> None:
    change_address(order_in_review, as_bob)

    with pytest.raises(PageIsStale, match=r"^Since you looked: change address by bob\. Look again") as refused:
        ACTS[act](order_in_review, as_alice, order_in_review.version)

    assert refused.value.event.type == "change_address"
    order_in_review.refresh_from_db()
    assert order_in_review.status == "in_review"
    ACTS[act](order_in_review, as_alice, order_in_review.version)


@pytest.mark.parametrize("act", ACTS)
def test_nobody_can_have_seen_what_has_not_been(order_in_review: Order, as_alice: Actor, act: str) -> None:
    version = order_in_review.version

    with pytest.raises(NeverSeen, match=f"is at version {version}; nobody can have seen version {version + 1}"):
        ACTS[act](order_in_review, as_alice, version + 1)

    order_in_review.refresh_from_db()
    assert (order_in_review.status, order_in_review.version) == ("in_review", version)


def test_what_is_harmless_refuses_nothing(order_in_review: Order, as_alice: Actor, as_bob: Actor, lead: User) -> None:
    seen, review = order_in_review.version, order_in_review.reviews.get()
    claiming.claim(order_id=order_in_review.pk, actor=as_bob, at=NOW)
    claiming.unclaim(order_id=order_in_review.pk, actor=as_bob, at=NOW)
    signalling.obey_signal(
        order_id=order_in_review.pk, action=Action.RETRY, actor="bob", reason="", due_at=None, address={}, at=NOW
    )
    assert review.remind_at
    reviewing.settle_review(order_id=order_in_review.pk, at=review.remind_at)

    assert reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=NOW, seen=seen).status == "approved"


def test_that_an_order_goes_on_its_way_matters_to_no_cancel(order_in_review: Order, as_alice: Actor) -> None:
    seen = reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=NOW).version
    fulfilling.reserve_stock(order_id=order_in_review.pk, at=NOW)

    order = undoing.cancel(order_id=order_in_review.pk, actor=as_alice, at=NOW, reason="", seen=seen)

    assert order.status == "cancelling"


def test_a_retry_is_for_the_wait_that_was_seen_and_for_no_later_one(
    short_order: Order, as_alice: Actor, as_bob: Actor
) -> None:
    seen = short_order.version
    attending.retry(order_id=short_order.pk, actor=as_bob, at=NOW)
    fulfilling.reserve_stock(order_id=short_order.pk, at=NOW)  # there is too little still: it waits once more

    with pytest.raises(PageIsStale, match="halt"):
        attending.retry(order_id=short_order.pk, actor=as_alice, at=NOW, seen=seen)

    short_order.refresh_from_db()
    assert short_order.status == "stock_short"
    assert short_order.events.filter(type="retry").count() == 1


def test_a_correction_for_an_earlier_wait_changes_not_even_the_address(
    undeliverable_order: Order, as_alice: Actor
) -> None:
    with pytest.raises(PageIsStale):
        attending.correct_and_retry(
            order_id=undeliverable_order.pk, actor=as_alice, at=NOW, address=PARIS, seen=undeliverable_order.version - 1
        )

    undeliverable_order.refresh_from_db()
    assert undeliverable_order.address_country == "AQ"


def test_of_an_endorsement_that_one_has_not_seen_one_is_told(
    order_in_review: Order, as_alice: Actor, as_bob: Actor
) -> None:
    order_in_review.reviews.update(needs_two=True)
    seen = order_in_review.version
    reviewing.approve(order_id=order_in_review.pk, actor=as_bob, at=NOW, seen=seen)

    with pytest.raises(PageIsStale, match="endorse by bob"):
        reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=NOW, seen=seen)


@pytest.mark.parametrize("act", ["take_over", "hand_over"])
def test_it_is_taken_only_out_of_the_hands_that_were_seen(
    client: Client, order_in_review: Order, alice: User, as_bob: Actor, lead: User, act: str
) -> None:
    """Not from a second one who has it since, and from the first one whatever they note on it meanwhile."""
    now = timezone.now()
    client.force_login(lead)
    seen = claiming.claim(order_id=order_in_review.pk, actor=as_bob, at=now).version
    claiming.hand_over(order_id=order_in_review.pk, actor=as_bob, at=now, to="alice")
    sent = {"reason": "Bob is away", "to": "bob", "version": str(seen)}

    answer = client.post(f"/orders/{order_in_review.pk}/{act}/", sent)

    assert answer.status_code == 409
    assert "Look again." in answer.content.decode()
    assert order_in_review.reviews.get().claimed_by == alice
    noting.write_note(order_id=order_in_review.pk, actor=Actor.operator(alice), at=now, text="The bank is slow")
    for _ in "ab":  # a double click is harmless
        again = client.post(f"/orders/{order_in_review.pk}/{act}/", sent | {"version": str(seen + 1)})
        assert again.status_code == 302
    assert order_in_review.reviews.get().claimed_by != alice
    assert order_in_review.events.latest("sequence").type == act


def test_what_one_has_handed_over_oneself_is_not_handed_to_another_by_an_older_page(
    client: Client, order_in_review: Order, alice: User, bob: User, lead: User
) -> None:
    client.force_login(lead)
    version = str(order_in_review.version)

    answers = [
        client.post(f"/orders/{order_in_review.pk}/hand_over/", {"to": to, "version": version}).status_code
        for to in ("bob", "alice")
    ]

    assert answers == [302, 409]
    assert order_in_review.reviews.get().claimed_by == bob


def test_a_wait_that_somebody_began_since_is_not_taken_back(
    at_alices: Client, order_in_review: Order, as_alice: Actor, as_bob: Actor
) -> None:
    now = timezone.now()
    until = now + timedelta(minutes=5)
    asking.snooze(order_id=order_in_review.pk, actor=as_alice, at=now, reason="She calls back", until=until)
    order_in_review.refresh_from_db()
    sent = {"version": str(order_in_review.version)}
    asking.resume(order_id=order_in_review.pk, actor=as_bob, at=now)
    asking.snooze(order_id=order_in_review.pk, actor=as_bob, at=now, reason="Asked the bank", until=until)

    answer = at_alices.post(f"/orders/{order_in_review.pk}/resume/", sent)

    assert answer.status_code == 409
    assert "so your taking back was not carried out" in answer.content.decode()
    assert order_in_review.reviews.get().waits_for == "Asked the bank"
    order_in_review.refresh_from_db()
    for _ in "ab":
        again = at_alices.post(f"/orders/{order_in_review.pk}/resume/", {"version": str(order_in_review.version)})
        assert again.status_code == 302
    assert order_in_review.reviews.get().back_at is None


def test_the_page_says_what_happened_and_keeps_what_was_typed(
    at_alices: Client, order_in_review: Order, as_bob: Actor
) -> None:
    sent = {"code": "fraud", "reason": "The bank has called", "version": str(order_in_review.version)}
    change_address(order_in_review, as_bob)

    answer = at_alices.post(f"/orders/{order_in_review.pk}/reject/", sent)

    page = answer.content.decode()
    assert answer.status_code == 409
    assert "Address changed by bob at" in page
    assert "so your rejection was not carried out. Look again." in page
    assert "The bank has called</textarea>" in page
    assert '<option value="fraud" selected>' in page
    order_in_review.refresh_from_db()
    again = at_alices.post(f"/orders/{order_in_review.pk}/reject/", sent | {"version": str(order_in_review.version)})
    assert again.status_code == 302


def test_a_double_click_is_harmless_where_the_first_one_counts(
    client: Client, order_in_review: Order, lead: User
) -> None:
    client.force_login(lead)
    sent = {"version": str(order_in_review.version), "minutes": "60", "reason": "She calls back"}

    answers = [client.post(f"/orders/{order_in_review.pk}/extend/", sent).status_code for _ in "ab"]

    assert answers == [302, 302]
    assert order_in_review.events.filter(type="extend").count() == 1


@pytest.mark.parametrize("other", [{"minutes": "240"}, {"reason": "She is ill"}])
def test_another_wish_by_the_same_person_is_no_double_click(
    client: Client, order_in_review: Order, lead: User, other: dict[str, str]
) -> None:
    client.force_login(lead)
    sent = {"version": str(order_in_review.version), "minutes": "60", "reason": "She calls back"}

    answers = [client.post(f"/orders/{order_in_review.pk}/extend/", sent | more) for more in ({}, other)]

    assert [answer.status_code for answer in answers] == [302, 409]
    assert "so your extension was not carried out" in answers[1].content.decode()


def test_nor_is_another_address(at_alices: Client, order_in_review: Order) -> None:
    sent = {"version": str(order_in_review.version), "line1": "5 rue Cler", "city": "Paris", "country": "FR"}
    path = f"/orders/{order_in_review.pk}/change_address/"

    first = at_alices.post(path, sent | {"postal_code": "75007"})
    second = at_alices.post(path, sent | {"postal_code": "75008"})

    assert [first.status_code, second.status_code] == [302, 409]
    assert "so your correction was not carried out" in second.content.decode()


@pytest.mark.parametrize("version", ["x", "-1", "٣", "1" * 10])
def test_a_version_that_is_none_is_refused(at_alices: Client, order_in_review: Order, version: str) -> None:
    answer = at_alices.post(f"/orders/{order_in_review.pk}/approve/", {"version": version})

    assert answer.status_code == 422
    assert "out of date" in answer.content.decode()


def test_every_form_of_the_pages_carries_the_version(
    order_in_review: Order, undeliverable_order: Order, lead: User, client: Client
) -> None:
    client.force_login(lead)

    for order in (order_in_review, undeliverable_order):
        for page in ("/", order.get_absolute_url()):
            forms = client.get(page).content.decode().split("<form")[1:]
            acting = [form for form in forms if f"/orders/{order.pk}/" in form.partition(">")[0]]
            claims = [form for form in acting if re.search(r"claim/|note/", form.partition(">")[0])]
            versions = [form for form in acting if f'name="version" value="{order.version}"' in form]
            assert len(acting) - len(claims) == len(versions) > 0


def test_the_command_line_takes_a_version(order_in_review: Order, alice: User, as_bob: Actor) -> None:
    seen = order_in_review.version
    change_address(order_in_review, as_bob)

    with pytest.raises(CommandError, match="Since you looked: change address by bob"):
        call_command("order", "approve", order_in_review.number, "--as", "alice", "--version", str(seen))
    call_command(
        "order", "approve", order_in_review.number, "--as", "alice", "--version", str(seen + 2), stdout=StringIO()
    )

    order_in_review.refresh_from_db()
    assert order_in_review.status == "approved"


def test_more_time_makes_no_page_stale(order_in_review: Order, as_alice: Actor, lead: User) -> None:
    seen = order_in_review.version
    due_at = order_in_review.reviews.get().due_at + timedelta(hours=1)
    reviewing.extend(order_id=order_in_review.pk, actor=Actor.operator(lead), at=NOW, due_at=due_at, reason="Later")
    claiming.unclaim(order_id=order_in_review.pk, actor=Actor.operator(lead), at=NOW)

    assert reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=NOW, seen=seen).status == "approved"
