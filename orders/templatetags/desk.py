"""What the desk's templates need besides Django's own: money, places, statuses and instants."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any

from django import template
from django.contrib.auth.models import User
from django.forms import BoundField, Select
from django.forms.utils import flatatt
from django.utils import timezone
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from orders import conventions, wording
from orders import money as amounts
from orders.models import Bulk, Order, Payment, Review
from orders.related import Related
from orders.services import holding
from orders.services.texts import MENTIONED
from orders.states import Status

register = template.Library()


@register.filter
def money(minor: int, currency: str) -> str:
    """As the viewer's locale writes it."""
    return conventions.amount(minor, currency)


@register.filter
def number(of: int) -> str:
    return f"{of:,}"


@register.filter
def subtract(of: int, other: int) -> int:
    return of - other


@register.filter
def title_of_bulk(bulk: Bulk) -> str:
    return wording.many(bulk.action, bulk.size, to=bulk.colleague.get_username() if bulk.colleague else "")


@register.filter
def country(code: str) -> str:
    return amounts.country_name(code)


@register.filter
def mentions(text: str) -> SafeString:
    """The text of a note, with those whom it mentions made to stand out."""
    marked = MENTIONED.sub(r'<b class="mention">\g<0></b>', escape(text))
    return mark_safe(marked)  # noqa: S308  # nosec B703  # trusted markup: what was typed is escaped above


@register.simple_tag
def control(field: BoundField) -> SafeString:
    """A line of text, or what there is to choose from."""
    value, widget = field.value(), field.field.widget
    attributes = {"id": field.auto_id, "name": field.name, **widget.attrs}
    if field.errors:
        attributes |= {"aria-invalid": "true", "aria-describedby": f"{field.auto_id}_error"}
    if not isinstance(widget, Select):
        return format_html('<input type="text"{}>', flatatt(attributes | ({"value": value} if value else {})))
    return format_html("<select{}>{}</select>", flatatt(attributes), options(widget.choices, value))


@register.filter
def options(choices: Iterable[Any], chosen: str | None) -> SafeString:
    """What there is to choose from, with the chosen one marked."""
    known = tuple(choices)
    return _options(known, chosen if chosen in dict(known) else "")


@lru_cache(maxsize=1_000)
def _options(choices: tuple[tuple[str, str], ...], chosen: str) -> SafeString:
    selected = mark_safe(" selected")  # trusted markup: a constant
    marks = {chosen: selected} if chosen else {}
    each = ((value, marks.get(value, ""), words) for value, words in choices)
    return format_html_join("", '<option value="{}"{}>{}</option>', each)


@register.simple_tag
def status(order: Order | Related) -> SafeString:
    """The order's status by word, shape and colour."""
    now = Status(order.status)
    return format_html('<span class="status {}">{}</span>', wording.tone(now), wording.STATUS_WORDS[now])


@register.simple_tag
def payment_status(payment: Payment) -> str:
    return wording.PAYMENT_WORDS.get((payment.kind, payment.status), payment.get_status_display().lower())


@register.filter
def why(review: Review) -> str:
    """All reasons for which it is before people, in one line."""
    return " · ".join(reason["text"] for reason in review.reasons)


@register.filter
def exactly(at: datetime) -> str:
    """The instant to the second, with its zone."""
    return _exactly(timezone.localtime(at))


def _exactly(local: datetime) -> str:
    return local.strftime("%-d %b %Y, %H:%M:%S %Z")


@register.filter
def on_hover(at: datetime) -> str:
    """The instant in the viewer's zone, and in UTC where that is another."""
    return _in_full(at, timezone.get_current_timezone())


@lru_cache(maxsize=10_000)  # an instant is the same in every zone, so that the zone is part of what is asked
def _in_full(at: datetime, zone: tzinfo) -> str:
    local, utc = at.astimezone(zone), at.astimezone(UTC)
    if not local.utcoffset():
        return _exactly(local)
    return f"{_exactly(local)} ({utc.strftime('%H:%M:%S' if utc.date() == local.date() else '%-d %b, %H:%M:%S')} UTC)"


@register.filter
def clock(at: datetime) -> str:
    """The time of day; with the day where that is not today."""
    local = timezone.localtime(at)
    return local.strftime("%H:%M" if local.date() == timezone.localdate() else "%-d %b, %H:%M")


@register.filter
def to_the_second(at: datetime) -> str:
    local = timezone.localtime(at)
    return local.strftime("%H:%M:%S" if local.date() == timezone.localdate() else "%-d %b, %H:%M:%S")


@register.simple_tag
def instant(at: datetime) -> SafeString:
    """The time of day, with the day where that is not today and the exact instant on hover."""
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), on_hover(at), clock(at))


@register.simple_tag
def decided(review: Review) -> str:
    """Who closed the review, how and when, as the beginning of a sentence."""
    return wording.who_decided(
        review.decision,
        by=review.decided_by.get_username() if review.decided_by else "",
        at=clock(review.decided_at) if review.decided_at else "",
    )


@register.simple_tag
def holder(review: Review | None) -> User | None:
    """Who has the order in hand now."""
    return holding.holder(review, at=timezone.now()) if review and not review.decision else None


@register.simple_tag
def ago(at: datetime) -> SafeString:
    """How long ago, with the exact instant on hover; live.js keeps it fresh."""
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        at.isoformat(),
        on_hover(at),
        wording.ago(timezone.now() - at),
    )


@register.filter
def span(length: timedelta) -> str:
    return wording.span(length)


@register.filter
def percent(share: float) -> str:
    """A share of 0 to 1, rounded down: all is all only where none is missing."""
    return f"{int(share * 100)} %"


@register.simple_tag
def at_deadline(review: Review) -> str:
    return wording.at_deadline(review.kind, review.at_deadline, review.level)


@register.simple_tag
def cancelling(order: Order) -> str:
    """What a cancel of the order gives back."""
    return wording.cancelling(order.status_now, money(order.total_minor, order.currency))


@register.filter
def takes_back_money(order: Order) -> bool:
    return wording.takes_back_money(order.status_now)


@register.simple_tag
def deadline(review: Review) -> SafeString:
    """The time left to decide or help, told by word, shape and colour; live.js counts it down."""
    left = review.due_at - timezone.now()
    return _deadline(
        wording.urgency(left),
        review.due_at.isoformat(timespec="seconds"),
        "Help" if review.kind == Review.Kind.ATTENTION else "Decide",
        on_hover(review.due_at),
        at_deadline(review),
        wording.countdown(left),
    )


@lru_cache(maxsize=10_000)
def _deadline(*words: str) -> SafeString:
    return format_html('<time class="due {}" datetime="{}" title="{} by {}. {}" data-due>{}</time>', *words)


@register.simple_tag
def put_off(review: Review) -> str:
    """Until when it waits and for what, as the beginning of a sentence."""
    return f"Waits until {clock(review.back_at)}: {review.waits_for}" if review.back_at else ""


@register.simple_tag
def back(at: datetime) -> SafeString:
    """When it is back; live.js counts it down."""
    left = wording.next_try(at - timezone.now())
    return format_html('<time datetime="{}" title="{}" data-next>{}</time>', at.isoformat(), on_hover(at), left)


@register.simple_tag
def next_try(at: datetime) -> SafeString:
    """When the next try is; live.js counts it down."""
    return format_html(
        '<span class="next">Next try <time datetime="{}" title="{}" data-next>{}</time>.</span>',
        at.isoformat(),
        on_hover(at),
        wording.next_try(at - timezone.now()),
    )
