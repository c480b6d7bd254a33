"""What a demonstration shows at first sight besides orders that wait: one in somebody's hands with a note, one whose
customer was asked, one whose customer has answered, and one that is put off. Done once, through the services.
"""

from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction

from orders import demo, finding
from orders.models import InfoRequest, Review
from orders.services import asking, claiming, noting
from orders.services.actors import Actor

CAST = ("alice", "bob", "dana")
TIME_LEFT = timedelta(hours=2)
WAIT = timedelta(hours=1)


@transaction.atomic
def stage(*, at: datetime) -> bool:
    """Set the scene, where its people and four orders with time left are there; whether nothing is left to do."""
    if InfoRequest.objects.exists():
        return True
    cast = {user.username: Actor.operator(user) for user in User.objects.filter(username__in=CAST, is_active=True)}
    waiting = Review.objects.filter(
        finding.in_queue(at=at), kind=Review.Kind.APPROVAL, order__source=demo.SOURCE, due_at__gt=at + TIME_LEFT
    ).select_related("order")
    reviews = list(waiting.order_by("due_at", "id")[:4])
    if len(cast) < len(CAST) or len(reviews) < 4:
        return False
    asked, answered, in_hand, put_off = (review.order for review in reviews)
    if asking.why_not_by_mail(asked):
        return True  # a desk that asks nobody

    asking.ask(
        order_id=asked.pk,
        actor=cast["alice"],
        at=at,
        question="The parcel is too heavy for the stairs. Is there a lift, or can you come down to the door?",
        until=at + WAIT,
    )
    question = asking.ask(
        order_id=answered.pk,
        actor=cast["bob"],
        at=at,
        question="Is this for yourself, or do you sell it on? Then we write the invoice otherwise.",
        until=at + WAIT,
    )
    token = asking.link_to(question).rstrip("/").rpartition("/")[2]
    asking.answer(token=token, text="It is for our café, so an invoice to the company, please.", at=at)
    claiming.claim(order_id=in_hand.pk, actor=cast["bob"], at=at)
    noting.write_note(
        order_id=in_hand.pk, actor=cast["bob"], at=at, text="She ordered the same last spring. @dana, do you know her?"
    )
    asking.snooze(
        order_id=put_off.pk, actor=cast["alice"], at=at, reason="The bank calls back about the card", until=at + WAIT
    )
    return True
