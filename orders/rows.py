"""Rows of the lists as HTML. What they show is worked out here, not in their templates: a page has fifty of them."""

import re
from functools import lru_cache

from django.http import HttpRequest
from django.template.backends.utils import csrf_input
from django.template.loader import get_template
from django.utils.html import escape, format_html
from django.utils.safestring import mark_safe

from orders import conventions, money
from orders.forms import Refusal
from orders.models import Order, Review
from orders.selectors import Row
from orders.states import Status
from orders.templatetags.desk import ago, deadline, decided, holder, on_hover, put_off, status, why

# Where a form's hidden fields go, which are others in each answer. No text in PostgreSQL has this sign.
_FIELDS = "\0"


def orders_row(order: Order) -> str:
    """A line of the list of all orders."""
    return _rendered(
        "orders/_orders_row.html",
        **_order(order),
        status=status(order),
        mail=escape(order.customer_email),
        placed=ago(order.placed_at),
    )


def queue_row(
    row: Row,
    *,
    may_decide: bool,
    leads: bool,
    sent_along: str = "",
    refusal: Refusal | None = None,
    request: HttpRequest | None = None,
) -> str:
    """A line of the queue: no more than it takes to decide. `sent_along` are its form's hidden fields besides."""
    order, review = row.order, row.review
    if review is None:
        raise ValueError(f"{order.number} was never in the queue")
    is_open, is_put_off = row.is_open, row.is_put_off
    is_escalated = is_open and review.level == Review.Level.LEAD
    news = decided(review) if not is_open else put_off(review) if is_put_off else ""
    reasons = review.waits_for if is_put_off else why(review)
    # To look up what is not there takes a template several times as long: so all is there, if empty.
    shown: dict[str, object] = _order(order) | {
        "claimed": _claimed(review),
        "is_open": is_open,
        "is_escalated": is_escalated,
        "is_cut": len(order.customer_name) > 16,
        "news": news,
        "due": deadline(review) if is_open else status(order),
        "helpless": status(order) if is_open and row.needs_help and not is_put_off else "",
        "why": news if is_put_off else reasons,
        "why_in_full": reasons,
        "may_decide": may_decide,
        "corrects": order.status == Status.UNDELIVERABLE and not is_put_off,
    }
    verb = words = outcome = outcome_at = ""
    if is_escalated and not leads and not is_put_off:
        outcome = f"A lead has to {'help' if row.needs_help else 'decide'}"
    elif not is_open:
        outcome, outcome_at = news, on_hover(review.decided_at) if review.decided_at else ""
    elif is_put_off:
        verb, words = "resume", "Take back"
    elif row.needs_help:
        verb, words = "retry", "Retry"
    else:
        verb, words = "approve", "Approve"
    does = escape(f"{order.get_absolute_url()}{verb}/")
    shown |= {"verb": verb, "words": words, "does": does, "outcome": outcome, "outcome_at": outcome_at}
    if refusal:
        rejects = refusal.form == "reject"
        wrong = refusal.message if not is_open or refusal.form in ("", "retry") else ""
        told = {"order": order, "refusal": refusal, "rejects": rejects, "wrong": wrong, "sent_along": sent_along}
        return _lean(get_template("orders/_queue_row.html").render(shown | told, request))
    html = _rendered("orders/_queue_row.html", **shown, refusal=None, rejects=False, wrong="", sent_along=_FIELDS)
    filled = html.replace(_FIELDS, sent_along)
    return mark_safe(filled)  # noqa: S308  # nosec B703  # trusted markup: a template's, and fields made by format_html


def sent_without_scripts(request: HttpRequest) -> str:
    """The hidden fields of a form that comes back to the page it stands on."""
    return format_html('{}<input type="hidden" name="next" value="{}">', csrf_input(request), request.get_full_path())


@lru_cache(maxsize=10_000, typed=True)  # what is safe is not what reads the same
def _rendered(template: str, **shown: object) -> str:
    """Lists show the same rows again and again, to one as to another. All that a row is made of is given here."""
    return _lean(get_template(template).render(shown))


def _lean(html: str) -> str:
    """Without the line breaks and indents between elements: fifty rows of them weigh as much as ten of the rows."""
    lean = re.sub(rf"(?<=[>{_FIELDS}])\n\s*(?=[<{_FIELDS}]|$)", "", html)
    return mark_safe(lean)  # noqa: S308  # nosec B703  # trusted markup: a template's


def _claimed(review: Review) -> str:
    """Who has it in hand, and whether it takes a second person."""
    has_it = holder(review)
    needs_two = review.needs_two and not review.decision
    if not (has_it or needs_two):
        return ""
    return _rendered(
        "orders/_claimed.html",
        holder=(has_it.pk, has_it.get_username()) if has_it else (),
        since=on_hover(review.claimed_at) if has_it and review.claimed_at else "",
        needs_two=needs_two,
        endorsed_by=review.endorsed_by.get_username() if needs_two and review.endorsed_by else "",
    )


def _order(order: Order) -> dict[str, object]:
    """What is shown of an order in either list; what is shown several times is escaped once."""
    return {
        "pk": escape(order.pk),
        "version": escape(order.version),
        "number": escape(order.number),
        "href": escape(order.get_absolute_url()),
        "customer": escape(order.customer_name),
        "country": money.country_name(order.address_country),
        "amount": conventions.amount(order.total_minor, order.currency),
    }
