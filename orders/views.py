"""The desk's pages. Each view loads and authorises, guards, changes through one service, and answers.

A decision comes as a plain form or through htmx, and is answered in kind: a redirect or a whole page, or the one
fragment that asked (`HX-Target` names it).
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from orders import live, selectors, timeline, wording
from orders.context import desk_state
from orders.forms import CancelForm, ExtendForm, OrdersFilterForm, ReasonForm, RefundForm
from orders.models import Decision, Order, Review
from orders.money import format_money, to_amount
from orders.roles import DECIDE_ESCALATED, permission
from orders.services import actors, refunding, reviewing, transitions, undoing
from orders.states import HUMAN_ACTIONS, Action, Status, may, on_main_road
from orders.templatetags.desk import clock, decided

Person = AbstractBaseUser | AnonymousUser

NOT_PERMITTED = "You can view orders but not decide on them. Ask a lead if you need to."


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Alive. Says nothing of the servers behind: a web process without its database is not helped by a restart."""
    return HttpResponse("ok\n", content_type="text/plain", headers={"Cache-Control": "no-store"})


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
    """Orders that wait for a decision, the most urgent first."""
    try:
        after = _cursor(request, "after", selectors.REVIEW_KEY)
    except selectors.BadCursor:
        return render(request, "400.html", status=400)
    page = selectors.queue_page(after=after)
    return render(
        request,
        "orders/queue.html",
        {"here": "queue", "page": page, "is_first": after is None, "may_decide": may_decide(request.user)},
    )


@require_safe
def orders(request: HttpRequest) -> HttpResponse:
    """All orders, newest first; what is searched for and where one is stand in the URL."""
    form = OrdersFilterForm(request.GET)
    form.is_valid()
    wanted = form.cleaned_data
    try:
        page = selectors.orders_page(
            status=Status(wanted["status"]) if wanted.get("status") else None,
            search=wanted.get("q", ""),
            older_than=_cursor(request, "older", selectors.ORDER_KEY),
            newer_than=_cursor(request, "newer", selectors.ORDER_KEY),
        )
    except selectors.BadCursor:
        return render(request, "400.html", status=400)
    return render(
        request,
        "orders/orders.html",
        {"here": "orders", "form": form, "page": page, "is_filtered": any(wanted.values())},
    )


@require_safe
def order(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    return _order_page(request, order_id)


# Deciding


@require_POST
def approve(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    found = _row_or_404(order_id)
    if not request.user.has_perm(permission(Action.APPROVE)):
        return _refuse(request, found.order, NOT_PERMITTED, status=403)
    try:
        reviewing.approve(order_id=order_id, actor=actors.Actor.operator(request.user), at=timezone.now())
    except transitions.ActionRefused as refusal:
        if not _did_it_before(refusal, request.user, Decision.APPROVED):
            return _refuse(request, found.order, _who_was_first(refusal, "approval"))
    return _done(request, found.order, f"{found.order.number} approved.")


@require_POST
def reject(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    found = _row_or_404(order_id)
    typed = request.POST.get("reason", "")
    if not request.user.has_perm(permission(Action.REJECT)):
        return _refuse(request, found.order, NOT_PERMITTED, status=403, typed=typed)
    form = ReasonForm(request.POST)
    if found.is_open and not form.is_valid():
        return _refuse(request, found.order, wrong_with(form), status=422, typed=typed, form="reject")
    try:
        reviewing.reject(
            order_id=order_id,
            actor=actors.Actor.operator(request.user),
            at=timezone.now(),
            reason=typed,
        )
    except transitions.ActionRefused as refusal:
        if not _did_it_before(refusal, request.user, Decision.REJECTED):
            said = _who_was_first(refusal, "rejection")
            return _refuse(request, found.order, said, typed=typed, form="reject")
    return _done(request, found.order, f"{found.order.number} rejected.")


@require_POST
def cancel(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    found = _row_or_404(order_id)
    typed = request.POST.get("reason", "")
    if not request.user.has_perm(permission(Action.CANCEL)):
        return _refuse(request, found.order, NOT_PERMITTED, status=403, typed=typed)
    form = CancelForm(request.POST)
    if not form.is_valid():
        return _refuse(request, found.order, wrong_with(form), status=422, typed=typed, form="cancel")
    try:
        undoing.cancel(
            order_id=order_id,
            actor=actors.Actor.operator(request.user),
            at=timezone.now(),
            reason=typed,
        )
    except undoing.AlreadyCancelled as refusal:
        if refusal.event.actor != request.user.get_username():
            said = f"{refusal.event.actor} cancelled it at {clock(refusal.event.at)}, so your cancel was not needed."
            return _refuse(request, found.order, said, typed=typed, form="cancel")
    except transitions.ActionRefused as refusal:
        return _refuse(request, found.order, str(refusal), typed=typed, form="cancel")
    return _done(request, found.order, f"{found.order.number} is being cancelled.")


@require_POST
def extend(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    found = _row_or_404(order_id)
    typed = request.POST.get("reason", "")
    if not request.user.has_perm(permission(Action.EXTEND)):
        return _refuse(request, found.order, NOT_PERMITTED, status=403, typed=typed)
    form = ExtendForm(request.POST)
    if not form.is_valid():
        return _refuse(request, found.order, wrong_with(form), status=422, typed=typed, form="extend")
    now = timezone.now()
    due_at = max(now, found.review.due_at if found.review else now) + timedelta(minutes=form.cleaned_data["minutes"])
    try:
        reviewing.extend(
            order_id=order_id, actor=actors.Actor.operator(request.user), at=now, due_at=due_at, reason=typed
        )
    except transitions.ActionRefused as refusal:
        said = _who_was_first(refusal, "extension")
        return _refuse(request, found.order, said, typed=typed, form="extend")
    return _done(request, found.order, f"{found.order.number} has more time.")


@require_POST
def refund(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    found = _row_or_404(order_id)
    typed, amount = request.POST.get("reason", ""), request.POST.get("amount", "")
    refuse = partial(_refuse, request, found.order, typed=typed, amount=amount, form="refund")
    actor = actors.Actor.operator(request.user)
    if actor.user is None or not refunding.may_refund(actor.user):
        return _refuse(request, found.order, NOT_PERMITTED, status=403)
    form = RefundForm(request.POST, currency=found.order.currency)
    if not form.is_valid():
        return refuse(wrong_with(form), status=422)
    try:
        payment = refunding.refund(
            order_id=order_id,
            amount_minor=form.amount_minor,
            reason=typed,
            actor=actor,
            at=timezone.now(),
            number=form.cleaned_data["number"],
        )
    except refunding.AmountRefused as refusal:
        return refuse(str(refusal), status=422)
    except transitions.ActionRefused as refusal:
        return refuse(str(refusal))
    return _done(request, found.order, f"{format_money(payment.amount_minor, payment.currency)} is being refunded.")


# Catching up: what a page asks for after it may have missed something


@require_safe
def catch_up_queue(request: HttpRequest) -> HttpResponse:
    shown = _shown(request, "shown")
    changed = [row for row in selectors.rows(shown) if row.order.version != shown[row.order.pk]]
    since = request.GET.get("since", "")
    new = (
        selectors.reviews_opened_since(int(since), except_orders=shown)
        if since.isdecimal() and since.isascii() and len(since) < 19
        else []
    )
    told_already = [row.order.pk for row in selectors.rows(_shown(request, "new")) if row.is_open]
    fragments = [live.queue_row(row, may_decide=may_decide(request.user)) for row in changed if row.review]
    return JsonResponse(
        {"fragments": [*fragments, *_desk_fragments()], "new": sorted({str(order) for order in [*new, *told_already]})}
    )


@require_safe
def catch_up_orders(request: HttpRequest) -> HttpResponse:
    shown = _shown(request, "shown")
    changed = [row for row in selectors.rows(shown) if row.order.version != shown[row.order.pk]]
    return JsonResponse({"fragments": [*(live.orders_row(row) for row in changed), *_desk_fragments()]})


@require_safe
def catch_up_order(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    shown = _shown(request, "shown")
    try:
        if selectors.order_version(order_id) == shown.get(order_id):
            return JsonResponse({"fragments": _desk_fragments()})
        fragment = render_to_string("orders/_order.html", _order_context(request, order_id), request)
    except Order.DoesNotExist:
        raise Http404 from None
    return JsonResponse({"fragments": [fragment, *_desk_fragments()]})


@require_safe
def catch_up_desk(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"fragments": _desk_fragments()})


# What the above are made of


@dataclass(frozen=True)
class Refusal:
    """Why a decision was not carried out, and what had been typed for it in which form."""

    message: str
    typed: str = ""
    form: str = ""
    amount: str = ""


@dataclass(frozen=True)
class RefundAsk:
    """What the refund form says and suggests: what is left, and how much of it this person may give back."""

    number: int
    left_minor: int
    most_minor: int
    suggested: str


def may_decide(user: Person) -> bool:
    return live.may_decide(user)


def _cursor(request: HttpRequest, name: str, key: str) -> selectors.Cursor | None:
    text = request.GET.get(name)
    return selectors.Cursor.parse(text, key=key) if text else None


def _shown(request: HttpRequest, name: str) -> Mapping[uuid.UUID, int]:
    return selectors.parse_shown(request.GET.get(name, ""))


def _row_or_404(order_id: uuid.UUID) -> selectors.Row:
    try:
        return selectors.row(order_id)
    except Order.DoesNotExist:
        raise Http404 from None


def _order_page(
    request: HttpRequest, order_id: uuid.UUID, *, refusal: Refusal | None = None, status: int = 200
) -> HttpResponse:
    try:
        context = _order_context(request, order_id, refusal=refusal)
    except Order.DoesNotExist:
        raise Http404 from None
    return render(request, "orders/order.html", context, status=status)


def _order_context(request: HttpRequest, order_id: uuid.UUID, *, refusal: Refusal | None = None) -> dict[str, Any]:
    detail = selectors.order_detail(order_id)
    status = detail.order.status_now
    return {
        "detail": detail,
        "order": detail.order,
        "steps": wording.steps(
            status,
            left_from=timeline.left_main_road_from(detail.events),
            reviewed=detail.review is not None or status == Status.IN_REVIEW,
        ),
        "doing": wording.doing(status, refunded=_refunded(detail)),
        "outcome": wording.sentence(detail.order.outcome),
        "is_stopped": not on_main_road(status),
        "entries": [timeline.tell(event) for event in detail.events],
        "may": permitted(request.user, status, detail.review),
        "extensions": ExtendForm.MINUTES,
        "refund": _refund_ask(request.user, detail),
        "refusal": refusal,
        "here": "",
        "run_url": _run_url(order_id),
    }


def _refund_ask(user: Person, detail: selectors.OrderDetail) -> RefundAsk | None:
    left = refunding.refundable(detail.order, detail.payments)
    if left is None or left.left_minor == 0 or not isinstance(user, User) or not refunding.may_refund(user):
        return None
    most = refunding.most_refundable(user, left, detail.order.currency)
    return RefundAsk(left.number, left.left_minor, most, str(to_amount(most, detail.order.currency)))


def _refunded(detail: selectors.OrderDetail) -> str:
    """The money that went back to the customer, as an amount; empty where none did."""
    back = [payment for payment in detail.payments if (payment.kind, payment.status) == ("refund", "succeeded")]
    return format_money(sum(payment.amount_minor for payment in back), detail.order.currency) if back else ""


def wrong_with(form: Form) -> str:
    return " ".join(str(error) for errors in form.errors.values() for error in errors)


def _run_url(order_id: uuid.UUID) -> str:
    """The order's run in Temporal's own pages."""
    if not settings.TEMPORAL_UI_URL:
        return ""
    return f"{settings.TEMPORAL_UI_URL.rstrip('/')}/namespaces/{settings.TEMPORAL_NAMESPACE}/workflows/order-{order_id}"


def permitted(user: Person, status: Status, review: Review | None = None) -> frozenset[Action]:
    """What this person may do with an order of this status, whose latest review this is."""
    allowed = {action for action in HUMAN_ACTIONS if may(status, action) and _has_perm(user, permission(action))}
    if review and review.level == Review.Level.LEAD and not _has_perm(user, DECIDE_ESCALATED):
        allowed -= {Action.APPROVE, Action.REJECT}
    return frozenset(allowed)


def _has_perm(user: Person, name: str) -> bool:
    return user.has_perm(name)  # type: ignore[union-attr]


def _done(request: HttpRequest, order: Order, said: str) -> HttpResponse:
    if request.headers.get("HX-Request"):
        return _fragment(request, order.pk)
    messages.success(request, said)
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure()):
        return redirect(wanted)
    return redirect(order)


def _refuse(
    request: HttpRequest,
    order: Order,
    message: str,
    *,
    status: int = 409,
    typed: str = "",
    form: str = "",
    amount: str = "",
) -> HttpResponse:
    refusal = Refusal(message, typed, form, amount)
    if request.headers.get("HX-Request"):
        return _fragment(request, order.pk, refusal=refusal, status=status)
    if status == 403:
        raise PermissionDenied(message)
    return _order_page(request, order.pk, refusal=refusal, status=status)


def _fragment(
    request: HttpRequest, order_id: uuid.UUID, *, refusal: Refusal | None = None, status: int = 200
) -> HttpResponse:
    """The fragment that asked: a row of the queue, or the order page's."""
    if request.headers.get("HX-Target", "").startswith("queue-"):
        row = _row_or_404(order_id)
        context = {"row": row, "may_decide": may_decide(request.user), "refusal": refusal}
        response = render(request, "orders/_queue_row.html", context, status=status)
    else:
        response = render(
            request, "orders/_order.html", _order_context(request, order_id, refusal=refusal), status=status
        )
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    return response


def _did_it_before(refusal: transitions.ActionRefused, user: Person, decision: Decision) -> bool:
    """A second click on the same button by the same person is no conflict, unless the order has been undone since."""
    return (
        isinstance(refusal, reviewing.AlreadyDecided)
        and refusal.review.decision == decision
        and refusal.review.decided_by_id == user.pk
        and (on_main_road(refusal.status) or refusal.status == Status.REJECTED)
    )


def _who_was_first(refusal: transitions.ActionRefused, attempt: str) -> str:
    if not isinstance(refusal, reviewing.AlreadyDecided):
        return str(refusal)
    since = (
        ""
        if refusal.status in (Status.REJECTED, Status.EXPIRED) or on_main_road(refusal.status)
        else (f" and {wording.STATUS_WORDS[refusal.status].lower()} since")
    )
    return f"{decided(refusal.review)}{since}, so your {attempt} was not carried out."


def _desk_fragments() -> list[str]:
    return live.desk_fragments(desk_state())
