"""The desk's pages, and what keeps them true. Nothing here changes an order: see `deciding`."""

import contextlib
import logging
import re
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from orders import (
    exporting,
    filters,
    finding,
    live,
    notes,
    one_order,
    paging,
    related,
    saved_views,
    selectors,
    stuck,
    timeline,
    wording,
)
from orders.context import desk
from orders.filters import ORDERS_SORTS, QUEUE_SORTS, FilterForm
from orders.forms import AddressForm, ExtendForm, Refusal, WaitForm
from orders.live_state import LiveState, doing, live_state, live_state_of
from orders.models import Order, Review
from orders.money import countries_by_name, to_amount
from orders.roles import DECIDE_ESCALATED, EXPORT, EXTEND_FREELY, FIRST_EXTENSION, SHARE_VIEWS, WRITE_NOTES, permission
from orders.rows import orders_row, queue_row, sent_without_scripts
from orders.services import asking, noting, refunding, reviewing
from orders.services.actors import Actor
from orders.services.holding import InOtherHands
from orders.services.placing import address_of
from orders.states import (
    CLAIMING,
    HUMAN_ACTIONS,
    NEEDS_ATTENTION,
    PUTTING_OFF,
    Action,
    Status,
    may,
    on_main_road,
)
from orders.templatetags.desk import money

logger = logging.getLogger(__name__)

Person = AbstractBaseUser | AnonymousUser

NOTHING_LATER = 2**63 - 1  # as high as numbers of the database go
NOT_PERMITTED = "You can view orders but not decide on them. Ask a lead if you need to."


@login_not_required
@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """For what asks for this name without having read a page."""
    answer = redirect(static("favicon.svg"))
    answer.headers["Cache-Control"] = "public, max-age=86400"
    return answer


@login_not_required
@require_safe
def records_door(request: HttpRequest) -> HttpResponse:
    """Where the raw records send whoever may not see them: to the desk's own sign-in, or away."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"))
    if request.user.is_staff:
        return redirect("admin:index")
    raise PermissionDenied("The raw records are for admins. All that you need to decide is on the order's own page.")


# Looking


@require_safe
def queue(request: HttpRequest) -> HttpResponse:
    """Orders that wait for a decision, the most urgent first; what is filtered and searched stands in the
    URL, and so does the order that is open beside them.
    """
    if shorter := _without_what_is_empty(request):
        return redirect(shorter)
    form = FilterForm(request.GET, sorts=QUEUE_SORTS)
    wanted = form.wanted if form.is_valid() else None
    try:
        opened = _opened(request)
        after = selectors.queue_cursor(request.GET.get("after", ""), wanted.sort) if wanted else None
    except paging.BadCursor:
        return render(request, "400.html", status=400)
    if opened and request.headers.get("HX-Target") == "opened":
        return _beside_the_queue(request, opened)
    now = timezone.now()
    tabs = saved_views.tabs(viewer=request.user, wanted=wanted, at=now)
    counts = {tab.query: tab.count for tab in tabs}
    page = selectors.queue_page(at=now, wanted=wanted, viewer=request.user, after=after) if wanted else None
    html_of = partial(_queue_row_for(request.user), sent_along=sent_without_scripts(request))
    return render(
        request,
        "orders/queue.html",
        {
            "here": "queue",
            "form": form,
            "wanted": wanted,
            "page": page,
            "rows": [html_of(row) for row in page.rows] if page else [],
            "opened": opened,
            "is_first": after is None,
            "may_decide": may_decide(request.user),
            "tabs": tabs,
            "waiting": counts[""],
            "helpless": counts[selectors.NEEDS_HELP.query()],
            "may_save_view": bool(wanted and wanted.query()),
            "may_share_views": _has_perm(request.user, SHARE_VIEWS),
            "stuck": stuck.lately(at=now, most=6) if leads(request.user) else [],
            "may_extend": _has_perm(request.user, permission(Action.EXTEND)),
        },
        status=200 if wanted else 422,
    )


def _opened(request: HttpRequest) -> Order | None:
    """The order that stands beside the queue, where one does.

    Raises BadCursor for what cannot be an order, Http404 for one that there is not.
    """
    wanted = request.GET.get("order")
    if not wanted:
        return None
    if not re.fullmatch(paging.ORDER_KEY, wanted, re.ASCII):
        raise paging.BadCursor(wanted)
    return one_order.order_or_404(uuid.UUID(wanted))


def _beside_the_queue(request: HttpRequest, opened: Order) -> HttpResponse:
    """The order alone: a page of the queue asks for it as it is opened, and once it is there itself."""
    context = _order_context(request, opened.pk, ask_engine=False)
    _see_mentions(request, context)
    return HttpResponse(render_to_string("orders/_order.html", context, request), headers={"Vary": "HX-Target"})


@require_safe
def orders(request: HttpRequest) -> HttpResponse:
    """All orders, newest first; what is filtered and searched, and where one is, stand in the URL."""
    if shorter := _without_what_is_empty(request):
        return redirect(shorter)
    form = FilterForm(request.GET, sorts=ORDERS_SORTS)
    wanted = form.wanted if form.is_valid() else None
    try:
        older, newer = (
            selectors.orders_cursor(request.GET.get(name, ""), wanted.sort) if wanted else None
            for name in ("older", "newer")
        )
    except paging.BadCursor:
        return render(request, "400.html", status=400)
    page = None
    if wanted:
        page = selectors.orders_page(
            at=timezone.now(), wanted=wanted, viewer=request.user, older_than=older, newer_than=newer
        )
    return render(
        request,
        "orders/orders.html",
        {
            "here": "orders",
            "form": form,
            "wanted": wanted,
            "page": page,
            "rows": [orders_row(order) for order in page.orders] if page else [],
            "may_export": _has_perm(request.user, EXPORT),
        },
        status=200 if wanted else 422,
    )


@require_safe
def export(request: HttpRequest) -> HttpResponseBase:
    """What the list of orders shows, as a file."""
    if not isinstance(request.user, User) or not _has_perm(request.user, EXPORT):
        raise PermissionDenied("You can look at orders but not take them away as a file. Ask a lead if you need to.")
    try:
        wanted = filters.parse(request.GET, sorts=ORDERS_SORTS)
    except filters.BadFilter:
        return render(request, "400.html", status=400)
    now = timezone.now()
    # Not what is asked for: that may be a customer's name or address.
    logger.info("Orders exported by %s, filtered by: %s", request.user, ", ".join(wanted.params()) or "nothing")
    return StreamingHttpResponse(
        exporting.stream(wanted, viewer=request.user, at=now),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="orders-{now:%Y-%m-%d}.csv"'},
    )


@require_safe
def order(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    """One order; who is mentioned in its notes has seen them then."""
    try:
        context = _order_context(request, order_id)
    except Order.DoesNotExist:
        raise Http404 from None
    _see_mentions(request, context)
    return render(request, "orders/order.html", context)


def _see_mentions(request: HttpRequest, context: Mapping[str, Any]) -> None:
    """Whoever opens an order has seen what mentions them there, though it is shown to them as new this once."""
    if context["notes"].is_new and isinstance(request.user, User):
        noting.see_mentions(order_id=context["order"].pk, user=request.user, at=timezone.now())


# Catching up: what a page asks for after it may have missed something


@require_safe
def catch_up_queue(request: HttpRequest) -> HttpResponse:
    shown = _shown(request, "shown")
    changed = [row for row in selectors.rows(shown) if row.order.version != shown[row.order.pk]]
    since = (_after(request, name) for name in ("since", "back"))
    new = selectors.came_since(*since, except_orders=shown) if "since" in request.GET else []
    told_already = [row.order.pk for row in selectors.rows(_shown(request, "new")) if row.is_waiting]
    all_new = _that_fit(request, {*new, *told_already})
    html_of = _queue_row_for(request.user)
    fragments = [html_of(row) for row in changed if row.review]
    for order_id, version in list(_shown(request, "open").items())[:1]:
        with contextlib.suppress(Order.DoesNotExist):
            fragments += _order_fragments(request, order_id, version)
    return JsonResponse({"fragments": [*fragments, *_desk_fragments(request)], "new": sorted(map(str, all_new))})


def _after(request: HttpRequest, name: str) -> int:
    """The number after which something is new to a page; where it gives none, nothing is."""
    number = request.GET.get(name, "")
    return int(number) if re.fullmatch(r"\d{1,18}", number, re.ASCII) else NOTHING_LATER


def _that_fit(request: HttpRequest, order_ids: Collection[uuid.UUID]) -> Collection[uuid.UUID]:
    """Those of the orders that the filter in the URL lets in; all where it does not narrow the queue."""
    form = FilterForm(request.GET, sorts=QUEUE_SORTS)
    if not order_ids or not form.is_valid() or not form.wanted.narrows:
        return order_ids
    fitting = finding.queue_that_fits(form.wanted, at=timezone.now(), viewer=request.user)
    return set(fitting.filter(order_id__in=order_ids).values_list("order_id", flat=True))


@require_safe
def catch_up_orders(request: HttpRequest) -> HttpResponse:
    shown = _shown(request, "shown")
    changed = [row for row in selectors.rows(shown) if row.order.version != shown[row.order.pk]]
    return JsonResponse({"fragments": [*(orders_row(row.order) for row in changed), *_desk_fragments(request)]})


@require_safe
def catch_up_order(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    try:
        fragments = _order_fragments(request, order_id, _shown(request, "shown").get(order_id))
    except Order.DoesNotExist:
        raise Http404 from None
    return JsonResponse({"fragments": [*fragments, *_desk_fragments(request)]})


@require_safe
def catch_up_desk(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"fragments": _desk_fragments(request)})


# What the above are made of


@dataclass(frozen=True)
class RefundAsk:
    """What the refund form says and suggests: what is left, and how much of it this person may give back."""

    number: int
    left_minor: int
    refunded_minor: int
    most_minor: int
    all_of_it: str  # the most, as an amount to be sent


def leads(user: Person) -> bool:
    return live.leads(user)


def may_decide(user: Person) -> bool:
    return live.may_decide(user)


def _queue_row_for(user: Person) -> partial[str]:
    """`queue_row` as this person sees it."""
    return partial(queue_row, may_decide=may_decide(user), leads=leads(user))


def _without_what_is_empty(request: HttpRequest) -> str:
    """The page's URL without the fields that a form sent empty; empty where there are none."""
    if all(request.GET.values()):
        return ""
    kept = urlencode([(name, value) for name, value in request.GET.items() if value])
    return f"{request.path}?{kept}" if kept else request.path


def _shown(request: HttpRequest, name: str) -> Mapping[uuid.UUID, int]:
    return selectors.parse_shown(request.GET.get(name, ""))


def row_or_404(order_id: uuid.UUID) -> selectors.Row:
    try:
        return selectors.row(order_id)
    except Order.DoesNotExist:
        raise Http404 from None


def order_page(
    request: HttpRequest, order_id: uuid.UUID, *, refusal: Refusal | None = None, status: int = 200
) -> HttpResponse:
    try:
        context = _order_context(request, order_id, refusal=refusal)
    except Order.DoesNotExist:
        raise Http404 from None
    return render(request, "orders/order.html", context, status=status)


def _order_context(
    request: HttpRequest, order_id: uuid.UUID, *, refusal: Refusal | None = None, ask_engine: bool | None = None
) -> dict[str, Any]:
    """An answer to a decision does not wait for Temporal, unless told to: the page asks again soon by itself."""
    detail = selectors.order_detail(order_id)
    status = detail.order.status_now
    return {
        "detail": detail,
        "order": detail.order,
        "steps": wording.steps(
            status,
            left_from=timeline.left_main_road_from(detail.events),
            reviewed=detail.was_reviewed,
        ),
        "doing": doing(status, detail.review, refunded=_refunded(detail)),
        "outcome": wording.sentence(detail.order.outcome),
        "is_stopped": not on_main_road(status),
        "may": permitted(request.user, status, detail.review),
        "cannot": others_have_to(request.user, detail),
        "colleagues": selectors.colleagues,
        "needs_help": status in NEEDS_ATTENTION,
        "related": related.related_orders(detail.order),
        "notes": notes.notes_of(order_id, seen_by=request.user.pk or 0),
        "may_export": _has_perm(request.user, EXPORT),
        "may_note": _has_perm(request.user, WRITE_NOTES),
        **_asking(request.user, detail),
        "address_parts": _address_parts(detail.order, refusal),
        "address_changes": address_changes(detail.order, refusal.fields)
        if refusal and refusal.form == "change_address"
        else None,
        "countries": countries_by_name(),
        "refund": (refund := _refund_ask(request.user, detail)),
        "refused": one_order.refused(request.user, detail, without_refund=refund is None and _may_refund(request.user)),
        **one_order.timeline_context(request, order_id, detail),
        "refusal": refusal,
        "here": "",
        "run_url": one_order.run_url(order_id),
        **live_context(live_state_of(detail, ask_engine=request.method == "GET" if ask_engine is None else ask_engine)),
    }


def _refund_ask(user: Person, detail: selectors.OrderDetail) -> RefundAsk | None:
    left = refunding.refundable(detail.order, detail.payments)
    if left is None or left.left_minor == 0 or not isinstance(user, User) or not refunding.may_refund(user):
        return None
    most = refunding.most_refundable(user, left, detail.order.currency)
    all_of_it = str(to_amount(most, detail.order.currency))
    return RefundAsk(left.number, left.left_minor, left.refunded_minor, most, all_of_it)


def _may_refund(user: Person) -> bool:
    return isinstance(user, User) and refunding.may_refund(user)


def _asking(user: Person, detail: selectors.OrderDetail) -> dict[str, Any]:
    """What the order waits for, if it is put off; what was asked before; how long it could wait; and more time."""
    review, now = detail.review, timezone.now()
    if review is None:
        return {}
    questions = list(review.questions.select_related("asked_by").order_by("id"))
    if review.decision:
        return {"questions": questions}
    most = timedelta.max if _has_perm(user, EXTEND_FREELY) else timedelta(0) if review.extended else FIRST_EXTENSION
    return {
        "questions": questions,
        "is_put_off": finding.is_put_off(review, at=now),
        "waits_for_answer": bool(questions) and questions[-1].question == review.waits_for,
        "usual_wait": WaitForm.usual(review.due_at - now),
        "extends_once": most == FIRST_EXTENSION,
        "waits": WaitForm.waits(left=review.due_at - now, most=most),
        "why_not_by_mail": asking.why_not_by_mail(detail.order),
        "extensions": [(minutes, words) for minutes, words in ExtendForm.MINUTES if timedelta(minutes=minutes) <= most],
    }


def address_changes(order: Order, typed: Mapping[str, str]) -> tuple[timeline.Change, ...]:
    """What would be another address than the order's."""
    return timeline.address_changes(asdict(address_of(order)), {name: value.strip() for name, value in typed.items()})


@dataclass(frozen=True)
class AddressPart:
    """A field of the address form, with what it holds and what is wrong with that."""

    name: str
    label: str
    value: str
    wrong: str = ""


def _address_parts(order: Order, refusal: Refusal | None) -> list[AddressPart]:
    """The fields with what was typed, where that was refused, else with the order's address."""
    typed = refusal if refusal and refusal.form == "change_address" else None
    return [
        AddressPart(name, label, typed.fields.get(name, ""), typed.errors.get(name, ""))
        if typed
        else AddressPart(name, label, getattr(order, f"address_{name}"))
        for name, label in AddressForm.LABELS.items()
    ]


def _refunded(detail: selectors.OrderDetail) -> str:
    """The money that went back to the customer, as an amount; empty where none did."""
    back = [payment for payment in detail.payments if (payment.kind, payment.status) == ("refund", "succeeded")]
    return money(sum(payment.amount_minor for payment in back), detail.order.currency) if back else ""


def permitted(user: Person, status: Status, review: Review | None = None) -> frozenset[Action]:
    """What this person may do with an order of this status, whose latest review this is."""
    possible = {action for action in (*HUMAN_ACTIONS, *CLAIMING, *PUTTING_OFF) if may(status, action)}
    allowed = {action for action in possible if _has_perm(user, permission(action))}
    if review and review.level == Review.Level.LEAD and not _has_perm(user, DECIDE_ESCALATED):
        allowed -= {Action.APPROVE, Action.REJECT, Action.RETRY, Action.EXTEND, *CLAIMING, *PUTTING_OFF}
    return frozenset(allowed)


def others_have_to(user: Person, detail: selectors.OrderDetail) -> Mapping[str, str]:
    """What this person may do in general and not to this order at this moment: each action with why."""
    order, review = detail.order, detail.review
    if review is None or review.decision or not isinstance(user, User) or not may_decide(user):
        return {}
    changed_by = reviewing.who_changed([order])[order.pk] if may(order.status_now, Action.APPROVE) else ()
    actor, now = Actor.operator(user), timezone.now()
    reasons = {
        action: reviewing.why_not_this_person(order, review, action, actor=actor, at=now, changed_by=changed_by)
        for action in (Action.APPROVE, Action.REJECT, Action.RETRY)
        if may(order.status_now, action)
    }
    in_hand = f"{review.claimed_by.get_username()} has it in hand." if review.claimed_by else ""
    return {
        action.value: in_hand if isinstance(reason, InOtherHands) else str(reason)
        for action, reason in reasons.items()
        if reason
    }


def _has_perm(user: Person, name: str) -> bool:
    return user.has_perm(name)  # type: ignore[union-attr]


def asking_fragment(
    request: HttpRequest, order_id: uuid.UUID, *, refusal: Refusal | None = None, status: int = 200
) -> HttpResponse:
    """The fragment that asked: a row of the queue, or the order page's."""
    if request.headers.get("HX-Target", "").startswith("queue-") and (row := row_or_404(order_id)).review:
        response = HttpResponse(_queue_row_for(request.user)(row, refusal=refusal, request=request), status=status)
    else:
        response = render(
            request, "orders/_order.html", _order_context(request, order_id, refusal=refusal), status=status
        )
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    return response


def _order_fragments(request: HttpRequest, order_id: uuid.UUID, seen: int | None) -> list[str]:
    """What is news of an order to whoever has `seen` that version of it.

    Raises Order.DoesNotExist.
    """
    if selectors.order_version(order_id) == seen:
        return _live_fragments(order_id)
    return [render_to_string("orders/_order.html", _order_context(request, order_id), request)]


def _live_fragments(order_id: uuid.UUID) -> list[str]:
    """Tries begin and fail without a new version of the order. Of one that nobody works at there is no news."""
    state = live_state(order_id, ask_engine=True)
    return [render_to_string("orders/_live.html", live_context(state))] if state.is_worked_on else []


def live_context(state: LiveState) -> dict[str, Any]:
    """A later look is a higher version."""
    return {"live": state, "live_at": time.time_ns() // 1_000_000}


def _desk_fragments(request: HttpRequest) -> list[str]:
    state = desk(request)
    return [*live.desk_fragments(state), render_to_string("orders/_mentions.html", state)]
