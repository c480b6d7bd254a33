"""Events as sentences: failed tries, of a hand-over and of an undoing."""

from datetime import UTC, datetime, timedelta

from orders.models import Order
from orders.services import shipping, undoing
from orders.services.actors import Actor
from orders.timeline import tell

NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)


def test_a_failed_try_to_undo_says_what_why_which_and_when_again(undeliverable_order: Order, as_alice: Actor) -> None:
    undoing.cancel(order_id=undeliverable_order.pk, actor=as_alice, at=NOW, reason="")
    for attempt in (1, 2):
        undoing.note_undo_trouble(
            order_id=undeliverable_order.pk,
            entry="refund payment",
            attempt=attempt,
            error="The bank does not answer.",
            at=NOW,
        )

    entry = tell(undeliverable_order.events.latest("sequence"))

    assert (entry.title, entry.tone) == ("Could not be undone yet", "bad")
    assert entry.detail == "Giving the money back · The bank does not answer. · 2nd try · next 4 Mar, 12:30:04"


def test_a_failed_hand_over_says_when_it_is_tried_again(undeliverable_order: Order) -> None:
    Order.objects.filter(pk=undeliverable_order.pk).update(status="dispatching")

    again = shipping.record_dispatch_failure(
        order_id=undeliverable_order.pk, key="", tries=0, reason="The depot is closed.", refused=False, at=NOW
    )

    assert again.retry_at == NOW + timedelta(seconds=10)
    entry = tell(undeliverable_order.events.latest("sequence"))
    assert entry.detail == "The depot is closed. · 1st try · next 4 Mar, 12:30:10"
