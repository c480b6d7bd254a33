"""Rows of the lists as HTML. What they show is worked out here, not in their templates: a page has fifty of them."""

from django.http import HttpRequest
from django.template.backends.utils import csrf_input
from django.template.loader import get_template
from django.utils.html import escape, format_html

from orders import conventions, money
from orders.forms import Refusal
from orders.models import Order, Review
from orders.selectors import Row
from orders.states import Status
from orders.templatetags.desk import ago, deadline, decided, on_hover, put_off, status, why


def orders_row(order: Order) -> str:
    """A line of the list of all orders."""
    shown = _order(order) | {
        "status": status(order),
        "mail": escape(order.customer_email),
        "placed": ago(order.placed_at),
    }
    return get_template("orders/_orders_row.html").render(shown)


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
        "order": order,
        "review": review if review.claimed_by_id or review.needs_two else None,
        "is_open": is_open,
        "is_escalated": is_escalated,
        "is_cut": len(order.customer_name) > 16,
        "news": news,
        "due": deadline(review) if is_open else status(order),
        "helpless": status(order) if is_open and row.needs_help and not is_put_off else "",
        "why": news if is_put_off else reasons,
        "why_in_full": reasons,
        "may_decide": may_decide,
        "sent_along": sent_along,
        "corrects": order.status == Status.UNDELIVERABLE and not is_put_off,
        "refusal": refusal,
        "rejects": False,
        "wrong": "",
    }
    if refusal:
        shown["rejects"] = refusal.form == "reject"
        shown["wrong"] = refusal.message if not is_open or refusal.form in ("", "retry") else ""
    verb = words = ""
    if is_escalated and not leads and not is_put_off:
        shown["outcome"] = f"A lead has to {'help' if row.needs_help else 'decide'}"
    elif not is_open:
        shown |= {"outcome": news, "outcome_at": on_hover(review.decided_at) if review.decided_at else ""}
    elif is_put_off:
        verb, words = "resume", "Take back"
    elif row.needs_help:
        verb, words = "retry", "Retry"
    else:
        verb, words = "approve", "Approve"
    shown |= {"verb": verb, "words": words, "does": escape(f"{order.get_absolute_url()}{verb}/")}
    return get_template("orders/_queue_row.html").render(shown, request)


def sent_without_scripts(request: HttpRequest) -> str:
    """The hidden fields of a form that comes back to the page it stands on."""
    return format_html(
        '{}<input type="hidden" name="next" value="{}">\n        ', csrf_input(request), request.get_full_path()
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
