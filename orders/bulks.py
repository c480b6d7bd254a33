"""Deciding on many orders at once: choose, look at what would come of it, begin, and see what becomes of it."""

import re
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from orders import bulk_selectors, filters, live, paging, selectors
from orders.context import desk_state
from orders.forms import ExtendForm, HandOverForm, RejectForm
from orders.models import Bulk, Order
from orders.roles import EXTEND_FREELY, FIRST_EXTENSION, SEE_TEAM
from orders.services import bulk as bulking
from orders.services.actors import Actor, NotPermitted
from orders.services.transitions import ActionRefused
from orders.states import Action
from orders.wording import MANY_DONE, became, many

NOT_PERMITTED = "You may not do that to orders. Ask a lead if you need to."
SHOWN = 50  # orders that the preview lists


class ChoiceForm(forms.Form):
    """What is to be done, and to which orders: those that were marked, or all that match."""

    action = forms.TypedChoiceField(
        choices=Bulk.Action.choices,
        coerce=Action,
        error_messages={"required": "Choose what to do.", "invalid_choice": "Choose what to do."},
    )
    all = forms.BooleanField(required=False)
    filter = forms.CharField(required=False, max_length=2_000)

    def order_ids(self, viewer: User) -> list[uuid.UUID]:
        """At most one more than a bulk takes of those that match.

        Raises BadFilter.
        """
        if self.cleaned_data["all"]:
            wanted = filters.parse(QueryDict(self.cleaned_data["filter"]))
            most = bulking.MOST + 1
            return bulk_selectors.waiting_orders(wanted=wanted, viewer=viewer, at=timezone.now(), most=most)
        return [order_id for text in self.data.getlist("order") if (order_id := _uuid(text))]  # type: ignore[attr-defined]


class BeginForm(forms.Form):
    """What was confirmed: the orders, each in the version that was looked at, under an id of its own."""

    id = forms.UUIDField()
    action = forms.TypedChoiceField(choices=Bulk.Action.choices, coerce=Action)
    chosen = forms.CharField()

    def versions(self) -> dict[uuid.UUID, int]:
        found = re.findall(rf"({paging.ORDER_KEY})\.(\d{{1,9}})(?:_|$)", self.cleaned_data["chosen"], re.ASCII)
        return {uuid.UUID(order_id): int(version) for order_id, version in found}


def form_for(action: Action, data: Mapping[str, Any] | None = None) -> forms.Form:
    """What is asked besides: the same as for one order."""
    asked = {Action.REJECT: RejectForm, Action.EXTEND: ExtendForm, Action.HAND_OVER: HandOverForm}
    return asked.get(action, forms.Form)(data)


@require_http_methods(["GET", "POST"])
def preview(request: HttpRequest) -> HttpResponse:
    """What would come of it, before anything does."""
    if request.method == "GET":  # after a sign-in, say: what was chosen is gone
        return redirect("orders:queue")
    choice = ChoiceForm(request.POST)
    if not choice.is_valid():
        return _refused(request, " ".join(str(error) for errors in choice.errors.values() for error in errors))
    action = choice.cleaned_data["action"]
    try:
        order_ids = choice.order_ids(_person(request))
    except filters.BadFilter:
        return _refused(request, "The filter makes no sense. Go back to the queue and set it again.")
    if not order_ids:
        return _refused(request, "No order was chosen. Mark some in the list, then say what to do with them.")
    return _preview(request, action, order_ids)


def _preview(
    request: HttpRequest,
    action: Action,
    order_ids: Collection[uuid.UUID],
    *,
    seen: Mapping[uuid.UUID, int] | None = None,
    wrong: Mapping[str, str] | None = None,
    said: str = "",
    status: int = 200,
) -> HttpResponse:
    try:
        actor = Actor.operator(request.user)
        looked = bulking.forecast(order_ids=order_ids, action=action, actor=actor, at=timezone.now(), seen=seen)
    except bulking.TooMany as refusal:
        return _refused(request, f"{refusal} Narrow the list down first.")
    except NotPermitted:
        return _refused(request, NOT_PERMITTED, status=403)
    return render(
        request,
        "orders/bulk_preview.html",
        {
            "here": "queue",
            "id": request.POST.get("id") or uuid.uuid4(),
            "action": action,
            "title": many(action, len(looked.fit)),
            "done": MANY_DONE[action],
            "number": len(looked.fit),
            "total": len(looked.fit) + sum(len(orders) for orders in looked.unfit.values()),
            "sums": _sums(looked.fit),
            "shown": [selectors.Row(order, looked.reviews[order.pk][0]) for order in looked.fit[:SHOWN]],
            "not_shown": max(0, len(looked.fit) - SHOWN),
            "unfit": [_Unfit(why, orders) for why, orders in looked.unfit.items()],
            "chosen": "_".join(f"{order.pk}.{order.version}" for order in looked.fit),
            "filter": request.POST.get("filter", ""),
            "extensions": [choice for choice in ExtendForm.MINUTES if _may_give(request, choice[0])],
            "colleagues": selectors.colleagues,
            "handed_over": settings.CLAIM_HANDED_OVER,
            "endorsed_first": sum(looked.reviews[order.pk][0].approvals_needed == 2 for order in looked.fit)
            if action == Action.APPROVE
            else 0,
            "typed": request.POST,
            "wrong": wrong or {},
            "said": said,
        },
        status=status,
    )


def _may_give(request: HttpRequest, minutes: int) -> bool:
    return timedelta(minutes=minutes) <= FIRST_EXTENSION or _person(request).has_perm(EXTEND_FREELY)


@dataclass(frozen=True)
class _Unfit:
    """Orders that cannot be done, for one reason."""

    why: str
    orders: Sequence[Order]

    @property
    def named(self) -> Sequence[Order]:
        return self.orders[: bulk_selectors.SAMPLE]

    @property
    def others(self) -> int:
        return len(self.orders) - len(self.named)


def _sums(orders: Iterable[Order]) -> list[tuple[int, str]]:
    """What the orders come to, in minor units of each currency, the most orders first."""
    sums: defaultdict[str, int] = defaultdict(int)
    for order in orders:
        sums[order.currency] += order.total_minor
    return [(minor, currency) for currency, minor in sums.items()]


def _refused(request: HttpRequest, said: str, *, status: int = 422) -> HttpResponse:
    return render(request, "orders/bulk_refused.html", {"here": "queue", "said": said}, status=status)


@require_http_methods(["GET", "POST"])
def begin(request: HttpRequest) -> HttpResponse:
    """Record what was confirmed; from here on it is a worker's."""
    if request.method == "GET":
        return redirect("orders:bulks")
    confirmed = BeginForm(request.POST)
    if not confirmed.is_valid():
        return _refused(request, "What was confirmed did not arrive whole. Choose the orders again.")
    action, chosen = confirmed.cleaned_data["action"], confirmed.versions()
    asked = form_for(action, request.POST)
    if not asked.is_valid():
        wrong = {name: " ".join(str(error) for error in errors) for name, errors in asked.errors.items()}
        return _preview(request, action, chosen, seen=chosen, wrong=wrong, status=422)
    minutes = asked.cleaned_data.get("minutes")
    try:
        begun = bulking.begin(
            bulk_id=confirmed.cleaned_data["id"],
            action=action,
            chosen=chosen,
            actor=Actor.operator(request.user),
            at=timezone.now(),
            note=asked.cleaned_data.get("reason", ""),
            code=asked.cleaned_data.get("code", ""),
            to=asked.cleaned_data.get("to", ""),
            more=timedelta(minutes=minutes) if minutes else None,
        )
    except NotPermitted:
        return _refused(request, NOT_PERMITTED, status=403)
    except ActionRefused as refusal:
        return _preview(request, action, chosen, seen=chosen, said=str(refusal), status=409)
    return redirect(begun)


# What becomes of it


@require_safe
def bulk(request: HttpRequest, bulk_id: uuid.UUID) -> HttpResponse:
    return render(request, "orders/bulk.html", {"here": "bulks", **_bulk_context(request, bulk_id)})


@require_safe
def bulks(request: HttpRequest) -> HttpResponse:
    """What this person has decided on at once; of leads, everybody's."""
    text = request.GET.get("after")
    try:
        after = paging.Cursor.parse(text, key=bulk_selectors.KEY) if text else None
    except paging.BadCursor:
        return render(request, "400.html", status=400)
    found, following = bulk_selectors.bulks_page(of=None if _sees_all(request) else _person(request), older_than=after)
    context = {"here": "bulks", "found": found, "next": following, "is_first": after is None}
    return render(request, "orders/bulks.html", context | {"sees_all": _sees_all(request)})


@require_safe
def catch_up_bulk(request: HttpRequest, bulk_id: uuid.UUID) -> HttpResponse:
    context = _bulk_context(request, bulk_id)
    rows = [
        render_to_string("orders/_bulk_row.html", {"member": member})
        for member in context["page"].members
        if member.result
    ]
    return JsonResponse(
        {
            "fragments": [
                render_to_string("orders/_bulk.html", context, request),
                *rows,
                *live.desk_fragments(desk_state()),
            ]
        }
    )


def _bulk_context(request: HttpRequest, bulk_id: uuid.UUID) -> dict[str, Any]:
    try:
        found = bulk_selectors.bulk_seen_by(_person(request), bulk_id)
    except Bulk.DoesNotExist:
        raise Http404 from None
    after = request.GET.get("after", "")
    position = int(after) if after.isdecimal() and after.isascii() and len(after) < 6 else 0
    page = bulk_selectors.bulk_page(found, after=position)
    return {
        "bulk": found,
        "page": page,
        "after": position,
        "title": many(found.action, found.size, to=found.colleague.get_username() if found.colleague else ""),
        "done": MANY_DONE[found.action],
        "became": became(
            MANY_DONE[found.action],
            size=found.size,
            done=page.progress.done,
            endorsed=page.progress.endorsed,
            refused=page.progress.refused,
        ),
        "catch_up": f"{reverse('orders:catch_up_bulk', args=[found.pk])}?after={position}",
    }


def _sees_all(request: HttpRequest) -> bool:
    return _person(request).has_perm(SEE_TEAM)


def _person(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise Http404
    return request.user


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
