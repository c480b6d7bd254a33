"""Who has an order in hand while it waits for people: claims, and what they keep others from."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from orders.models import Order, Outbox, Review
from orders.services import addressing, attending, claiming, reviewing, signalling, undoing
from orders.services.actors import Actor, NotPermitted
from orders.services.claiming import NotAColleague
from orders.services.holding import InOtherHands, holder
from orders.services.placing import Address
from orders.services.reviewing import AlreadyDecided, NotThisPerson
from orders.states import Action
from tests.orders.conftest import SignedIn

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
IDLE = timedelta(minutes=10)
PARIS = Address("FR", line1="5 rue Cler", city="Paris", postal_code="75007")


@pytest.fixture
def as_dana(lead: User) -> Actor:
    return Actor.operator(lead)


@pytest.fixture
def in_bobs_hands(order_in_review: Order, as_bob: Actor) -> Order:
    return claiming.claim(order_id=order_in_review.pk, actor=as_bob, at=NOW)


def claim_of(order: Order) -> tuple[str, datetime | None]:
    review = order.reviews.select_related("claimed_by").get()
    return review.claimed_by.get_username() if review.claimed_by else "", review.claimed_until


def events_of(order: Order) -> list[str]:
    return list(order.events.order_by("sequence").values_list("type", flat=True))


def test_a_claim_is_the_review_and_an_event_and_nothing_for_the_engine(in_bobs_hands: Order) -> None:
    assert claim_of(in_bobs_hands) == ("bob", NOW + IDLE)
    event = in_bobs_hands.events.get(type="claim")
    assert (event.actor, event.sequence) == ("bob", in_bobs_hands.version)
    assert not Outbox.objects.filter(order=in_bobs_hands).exclude(message="start").exists()


def test_who_claims_again_has_it_for_longer_and_tells_nobody(in_bobs_hands: Order, as_bob: Actor) -> None:
    claiming.claim(order_id=in_bobs_hands.pk, actor=as_bob, at=NOW + timedelta(minutes=4))

    assert claim_of(in_bobs_hands) == ("bob", NOW + timedelta(minutes=14))
    assert events_of(in_bobs_hands).count("claim") == 1


def test_who_types_has_it_for_longer(in_bobs_hands: Order, as_bob: Actor, as_alice: Actor) -> None:
    late = NOW + timedelta(minutes=9)

    assert claiming.renew(order_id=in_bobs_hands.pk, actor=as_bob, at=late)
    assert claim_of(in_bobs_hands) == ("bob", late + IDLE)
    assert not claiming.renew(order_id=in_bobs_hands.pk, actor=as_alice, at=late)
    assert not claiming.renew(order_id=in_bobs_hands.pk, actor=as_bob, at=late + IDLE)


ACTS: dict[str, Callable[[Order, Actor], object]] = {
    "approve": lambda order, who: reviewing.approve(order_id=order.pk, actor=who, at=NOW),
    "reject": lambda order, who: reviewing.reject(order_id=order.pk, actor=who, at=NOW, reason="No"),
    "cancel": lambda order, who: undoing.cancel(order_id=order.pk, actor=who, at=NOW, reason=""),
    "claim": lambda order, who: claiming.claim(order_id=order.pk, actor=who, at=NOW),
    "unclaim": lambda order, who: claiming.unclaim(order_id=order.pk, actor=who, at=NOW),
    "hand_over": lambda order, who: claiming.hand_over(order_id=order.pk, actor=who, at=NOW, to="alice"),
    "change_address": lambda order, who: addressing.change_address(order_id=order.pk, actor=who, at=NOW, address=PARIS),
}


@pytest.mark.parametrize("act", ACTS)
def test_while_one_has_it_in_hand_nobody_else_does_anything(in_bobs_hands: Order, as_alice: Actor, act: str) -> None:
    with pytest.raises(InOtherHands, match=r"^bob has it in hand since 12:00 UTC\.$"):
        ACTS[act](in_bobs_hands, as_alice)

    assert events_of(in_bobs_hands)[-1] == "claim"


def test_nor_does_a_lead_before_taking_over(in_bobs_hands: Order, as_dana: Actor) -> None:
    due_at = in_bobs_hands.reviews.get().due_at + timedelta(hours=1)
    with pytest.raises(InOtherHands):
        reviewing.extend(order_id=in_bobs_hands.pk, actor=as_dana, at=NOW, due_at=due_at, reason="Later")

    claiming.take_over(order_id=in_bobs_hands.pk, actor=as_dana, at=NOW, reason="Bob is away")
    reviewing.extend(order_id=in_bobs_hands.pk, actor=as_dana, at=NOW, due_at=due_at, reason="Later")

    assert claim_of(in_bobs_hands)[0] == "dana"
    event = in_bobs_hands.events.get(type="take_over")
    assert (event.payload["former"], event.payload["note"]) == ("bob", "Bob is away")


def test_an_order_that_needs_help_is_kept_from_others_too(short_order: Order, as_alice: Actor, as_bob: Actor) -> None:
    claiming.claim(order_id=short_order.pk, actor=as_bob, at=NOW)

    with pytest.raises(InOtherHands):
        attending.retry(order_id=short_order.pk, actor=as_alice, at=NOW)


def test_every_door_refuses_what_is_in_other_hands(
    in_bobs_hands: Order, alice: User, signed_in: SignedIn, settings: Settings
) -> None:
    claiming.claim(order_id=in_bobs_hands.pk, actor=Actor.operator(User.objects.get(username="bob")), at=_now())

    page = signed_in(alice).post(f"/orders/{in_bobs_hands.pk}/approve/")
    assert page.status_code == 409
    assert "bob has it in hand since" in page.content.decode()
    with pytest.raises(CommandError, match="bob has it in hand"):
        call_command("order", "approve", in_bobs_hands.number, user="alice")
    signalling.obey_signal(
        order_id=in_bobs_hands.pk, action=Action.APPROVE, actor="alice", reason="", due_at=None, address={}, at=_now()
    )
    assert "bob has it in hand" in in_bobs_hands.events.get(type="signal_refused").payload["why"]
    in_bobs_hands.refresh_from_db()
    assert in_bobs_hands.status == "in_review"


def test_what_is_typed_for_an_order_in_other_hands_is_kept(in_bobs_hands: Order, at_alices: Client) -> None:
    claiming.claim(order_id=in_bobs_hands.pk, actor=Actor.operator(User.objects.get(username="bob")), at=_now())

    answer = at_alices.post(f"/orders/{in_bobs_hands.pk}/reject/", {"code": "fraud", "reason": "The bank has called"})

    page = answer.content.decode()
    assert answer.status_code == 409
    assert "so your rejection was not carried out" in page
    assert "The bank has called</textarea>" in page


def test_who_does_nothing_has_it_no_longer(in_bobs_hands: Order, as_alice: Actor) -> None:
    assert claiming.end_idle_claims(at=NOW + IDLE - timedelta(seconds=1)) == 0
    assert claiming.end_idle_claims(at=NOW + IDLE) == 1
    assert claiming.end_idle_claims(at=NOW + IDLE) == 0

    assert claim_of(in_bobs_hands) == ("", None)
    assert in_bobs_hands.events.get(type="claim_expired").payload == {"former": "bob"}


def test_an_idle_claim_counts_for_nothing_even_before_it_is_ended(in_bobs_hands: Order, as_alice: Actor) -> None:
    reviewing.approve(order_id=in_bobs_hands.pk, actor=as_alice, at=NOW + IDLE)

    assert in_bobs_hands.reviews.get().claimed_by is None


def test_whoever_acts_has_it_in_hand(order_in_review: Order, as_bob: Actor, as_alice: Actor) -> None:
    addressing.change_address(order_id=order_in_review.pk, actor=as_bob, at=NOW, address=PARIS)

    assert claim_of(order_in_review) == ("bob", NOW + IDLE)
    with pytest.raises(InOtherHands):
        reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=NOW)


def test_what_is_given_back_is_free(in_bobs_hands: Order, as_bob: Actor, as_alice: Actor) -> None:
    for _ in "ab":  # a second click changes nothing
        claiming.unclaim(order_id=in_bobs_hands.pk, actor=as_bob, at=NOW)

    reviewing.approve(order_id=in_bobs_hands.pk, actor=as_alice, at=NOW)

    assert events_of(in_bobs_hands)[-3:] == ["claim", "unclaim", "approve"]


def test_it_is_handed_over_to_a_colleague_who_may_decide(
    in_bobs_hands: Order, as_bob: Actor, as_alice: Actor, viewer: User, settings: Settings
) -> None:
    for nobody in ("vera", "no such", "a\0b"):
        with pytest.raises(NotAColleague):
            claiming.hand_over(order_id=in_bobs_hands.pk, actor=as_bob, at=NOW, to=nobody)

    claiming.hand_over(order_id=in_bobs_hands.pk, actor=as_bob, at=NOW, to="alice")

    assert claim_of(in_bobs_hands) == ("alice", NOW + settings.CLAIM_HANDED_OVER)
    event = in_bobs_hands.events.get(type="hand_over")
    assert (event.actor, event.payload["former"], event.payload["holder"]) == ("bob", "bob", "alice")
    claiming.claim(order_id=in_bobs_hands.pk, actor=as_alice, at=NOW)
    assert claim_of(in_bobs_hands) == ("alice", NOW + settings.CLAIM_HANDED_OVER)


def test_a_lead_gives_to_one_what_another_has(in_bobs_hands: Order, as_dana: Actor, alice: User) -> None:
    claiming.hand_over(order_id=in_bobs_hands.pk, actor=as_dana, at=NOW, to="alice")

    assert claim_of(in_bobs_hands)[0] == "alice"


def test_an_operator_takes_nothing_over_and_a_viewer_claims_nothing(
    in_bobs_hands: Order, as_alice: Actor, viewer: User
) -> None:
    with pytest.raises(NotPermitted, match="alice may not take over an order"):
        claiming.take_over(order_id=in_bobs_hands.pk, actor=as_alice, at=NOW)
    with pytest.raises(NotPermitted, match="vera may not claim an order"):
        claiming.claim(order_id=in_bobs_hands.pk, actor=Actor.operator(viewer), at=NOW)


def test_a_decision_ends_the_claim_and_none_can_follow(in_bobs_hands: Order, as_bob: Actor) -> None:
    reviewing.approve(order_id=in_bobs_hands.pk, actor=as_bob, at=NOW)

    assert claim_of(in_bobs_hands) == ("", None)
    with pytest.raises(AlreadyDecided):
        claiming.claim(order_id=in_bobs_hands.pk, actor=as_bob, at=NOW)


def test_an_escalation_takes_it_out_of_an_operators_hands(in_bobs_hands: Order, as_bob: Actor, as_dana: Actor) -> None:
    Review.objects.update(at_deadline="escalate")
    due_at = in_bobs_hands.reviews.get().due_at
    Review.objects.update(claimed_until=due_at + IDLE)

    reviewing.settle_review(order_id=in_bobs_hands.pk, at=due_at)

    assert claim_of(in_bobs_hands) == ("", None)
    with pytest.raises(NotThisPerson, match="a lead has to decide"):
        claiming.claim(order_id=in_bobs_hands.pk, actor=as_bob, at=due_at)
    with pytest.raises(NotAColleague, match="bob is no lead"):
        claiming.hand_over(order_id=in_bobs_hands.pk, actor=as_dana, at=due_at, to="bob")


def test_who_corrects_what_leads_decide_on_keeps_it_from_none_of_them(
    order_in_review: Order, as_bob: Actor, as_dana: Actor
) -> None:
    order_in_review.reviews.update(level="lead")

    addressing.change_address(order_id=order_in_review.pk, actor=as_bob, at=NOW, address=PARIS)

    assert claim_of(order_in_review) == ("", None)
    reviewing.approve(order_id=order_in_review.pk, actor=as_dana, at=NOW)


def test_who_has_what_leads_decide_on_can_give_it_back(in_bobs_hands: Order, as_bob: Actor) -> None:
    in_bobs_hands.reviews.update(level="lead")

    claiming.unclaim(order_id=in_bobs_hands.pk, actor=as_bob, at=NOW)

    assert claim_of(in_bobs_hands) == ("", None)


def test_the_deadline_and_the_customer_ask_nobody(in_bobs_hands: Order) -> None:
    reviewing.settle_review(order_id=in_bobs_hands.pk, at=NOW + timedelta(days=30))

    in_bobs_hands.refresh_from_db()
    assert in_bobs_hands.status == "expired"


def test_the_page_and_the_row_say_whose_it_is(
    order_in_review: Order, alice: User, bob: User, lead: User, signed_in: SignedIn
) -> None:
    address = order_in_review.get_absolute_url()
    theirs = {user.username: signed_in(user) for user in (alice, bob, lead)}

    assert "Nobody has it in hand." in theirs["bob"].get(address).content.decode()
    theirs["bob"].post(f"{address}claim/")

    assert "You have it in hand" in theirs["bob"].get(address).content.decode()
    seen = theirs["alice"].get(address).content.decode()
    assert "bob has it in hand" in seen
    assert f"{address}take_over/" not in seen
    assert f"{address}take_over/" in theirs["dana"].get(address).content.decode()
    assert "bob has it in hand since" in theirs["alice"].get("/").content.decode()

    theirs["dana"].post(f"{address}take_over/", {"reason": "Lunch"})
    theirs["dana"].post(f"{address}hand_over/", {"to": "alice"})
    assert theirs["bob"].post(f"{address}renew/").status_code == 409
    assert theirs["alice"].post(f"{address}renew/").status_code == 204
    theirs["alice"].post(f"{address}unclaim/")
    assert events_of(order_in_review)[-4:] == ["claim", "take_over", "hand_over", "unclaim"]


def test_who_is_to_have_it_has_to_be_named(order_in_review: Order, at_alices: Client) -> None:
    for sent, said in (({}, "Choose a colleague."), ({"to": "nobody"}, "Name a colleague who may decide.")):
        answer = at_alices.post(f"{order_in_review.get_absolute_url()}hand_over/", sent)

        assert answer.status_code == 422
        assert said in answer.content.decode()


def test_the_command_line_claims_and_hands_over(order_in_review: Order, alice: User, bob: User) -> None:
    call_command("order", "claim", order_in_review.number, user="alice")
    call_command("order", "hand-over", order_in_review.number, user="alice", to="bob")
    with pytest.raises(CommandError, match="bob has it in hand"):
        call_command("order", "unclaim", order_in_review.number, user="alice")
    with pytest.raises(CommandError, match="alice may not take over"):
        call_command("order", "take-over", order_in_review.number, user="alice")

    review = order_in_review.reviews.get()
    assert holder(review, at=_now()) == bob


def _now() -> datetime:
    return datetime.now(UTC)
