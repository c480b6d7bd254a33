"""What was found once all was calm again: the books of desk, bank and carrier, and what everybody had been told."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from orders.models import Event, Order
from tests.chaos.traffic import Book, Told

DECISIONS = ("approve", "reject", "cancel", "change_address")


def broken_words(book: Book) -> Iterator[str]:
    """Where somebody was told what is not so."""
    yield from _of_orders(book)
    done = _by_whom()
    for answer in book.answers:
        times = done[answer.order][answer.action, answer.actor]
        asked = f"{answer.actor} asked to {answer.action} {answer.order}"
        if answer.told == Told.DONE and times != 1:
            yield f"{asked}, was told that it was done, and it stands {times} times in the story"
        if answer.told == Told.REFUSED and times:
            yield f"{asked}, was refused ({answer.said}), and it stands in the story"
        if answer.told == Told.NOTHING and times > 1:
            yield f"{asked}, and it stands {times} times in the story"


def _of_orders(book: Book) -> Iterator[str]:
    there = {
        str(order_id): reference for order_id, reference in Order.objects.values_list("id", "reference").iterator()
    }
    for reference, order in book.placed.items():
        if there.get(order) != reference:
            yield f"{reference} was accepted as {order}, and is not there"
    for reference, many in Counter(there.values()).items():
        if many > 1:
            yield f"{reference} is {many} orders"
        if reference not in book.tried:
            yield f"{reference} was never placed, and is there"


def _by_whom() -> Mapping[str, Counter[tuple[str, str]]]:
    found: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    events = Event.objects.filter(type__in=DECISIONS).values_list("order_id", "type", "actor")
    for order_id, action, actor in events.iterator():
        found[str(order_id)][action, actor] += 1
    return found
