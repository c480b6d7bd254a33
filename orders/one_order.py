"""One order: its timeline by kind, why what cannot be done with it now cannot be done, and all of it to be taken away.
Nothing here changes it.
"""

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from orders import audit, runs, selectors, timeline, wording
from orders.models import Order
from orders.roles import EXPORT, MAY, Role, permission
from orders.selectors import OrderDetail
from orders.states import HUMAN_ACTIONS, TERMINAL, Action, may
from orders.timeline import About

Person = AbstractBaseUser | AnonymousUser

SHOWN_WHERE_REFUSED = (Action.CANCEL, Action.CHANGE_ADDRESS, Action.EXTEND)


# The timeline


def about_in(request: HttpRequest) -> About | None:
    """What the timeline is narrowed to, by the URL; nothing where it names nothing that there is."""
    wanted = request.GET.get("show", "")
    return About(wanted) if wanted in set(About) else None


def timeline_context(request: HttpRequest, order_id: uuid.UUID, detail: OrderDetail | None = None) -> dict[str, Any]:
    """The latest events as entries, all or those that are about what is wanted. `detail` saves a query for all."""
    show = about_in(request)
    if show:
        events, more = selectors.events_that(order_id, timeline.that_are_about(show))
    elif detail:
        events, more = list(detail.events), detail.earlier_events > 0
    else:
        events, more = selectors.events_that(order_id, timeline.ALL)
    return {
        "entries": [timeline.tell(event) for event in events],
        "earlier": more,
        "show": show.value if show else "",
        "show_words": wording.ABOUT_WORDS[show] if show else "",
        "kinds": wording.ABOUT_WORDS.items(),
    }


@require_safe
def timeline_of(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    """The timeline alone, for htmx; by itself it is a part of the order's page."""
    order, show = order_or_404(order_id), about_in(request)
    page = order.get_absolute_url() + (f"?show={show}" if show else "")
    if not request.headers.get("HX-Request"):
        return redirect(f"{page}#timeline-{order.pk}")
    answer = render(request, "orders/_timeline.html", {"order": order, **timeline_context(request, order_id)})
    if urlsplit(request.headers.get("HX-Current-URL", "")).path == order.get_absolute_url():
        answer.headers["HX-Replace-Url"] = page  # on its own page; beside the queue the URL is the queue's
    patch_vary_headers(answer, ["HX-Request", "HX-Current-URL"])
    return answer


@require_safe
def engine_history(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    """Temporal's own history of the order's run: folded into the order's page, or a page of its own."""
    order = order_or_404(order_id)
    context = {"here": "", "order": order, "history": runs.history(order_id), "run_url": run_url(order_id)}
    template = "orders/_history.html" if request.headers.get("HX-Request") else "orders/history.html"
    answer = render(request, template, context)
    patch_vary_headers(answer, ["HX-Request"])
    return answer


def run_url(order_id: uuid.UUID) -> str:
    """The order's run in Temporal's own pages."""
    if not settings.TEMPORAL_UI_URL:
        return ""
    return f"{settings.TEMPORAL_UI_URL.rstrip('/')}/namespaces/{settings.TEMPORAL_NAMESPACE}/workflows/order-{order_id}"


def order_or_404(order_id: uuid.UUID) -> Order:
    try:
        return Order.objects.get(pk=order_id)
    except Order.DoesNotExist:
        raise Http404 from None


# What cannot be done now


def refused(user: Person, detail: OrderDetail, *, without_refund: bool) -> Mapping[str, str]:
    """Why each thing that this person might look for cannot be done now, in words; nothing for who may only look.

    `without_refund` says that this person might look for a refund and there is none to be had.
    """
    status = detail.order.status_now
    if not any(user.has_perm(permission(action)) for action in HUMAN_ACTIONS):  # type: ignore[union-attr]
        return {}
    whys: dict[str, str] = {}
    for action in SHOWN_WHERE_REFUSED:
        if not may(status, action):
            whys[action] = wording.why_not(status, action)
        elif not user.has_perm(permission(action)):  # type: ignore[union-attr]
            whys[action] = f"For {wording.all_of([f'{role}s' for role in Role if action in MAY[role]])} only."
    if without_refund:
        whys["refund"] = wording.no_refund(
            ended=status in TERMINAL, charged=any(payment.kind == "charge" for payment in detail.payments)
        )
    return whys


# Taking it away


@require_safe
def print_order(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    """All of it on paper: no buttons, every event, exact instants."""
    found = _audit(order_id)
    context = {"here": "", "order": found.order, "audit": found, "at": timezone.now()}
    return render(request, "orders/print.html", context)


@require_safe
def audit_json(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    by = _must_export(request)
    found = _audit(order_id)
    told = audit.as_json(found, at=timezone.now(), by=by)
    answer = JsonResponse(told, json_dumps_params={"ensure_ascii": False, "indent": 2})
    answer.headers["Content-Disposition"] = f'attachment; filename="{found.order.number}-audit.json"'
    return answer


@require_safe
def audit_csv(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    _must_export(request)
    found = _audit(order_id)
    name = f'attachment; filename="{found.order.number}-audit.csv"'
    return HttpResponse(
        audit.as_csv(found), content_type="text/csv; charset=utf-8", headers={"Content-Disposition": name}
    )


def _must_export(request: HttpRequest) -> str:
    """Who takes it away.

    Raises PermissionDenied.
    """
    if not request.user.has_perm(EXPORT):
        raise PermissionDenied("You can look at orders but not take them away as a file. Ask a lead if you need to.")
    return request.user.get_username()


def _audit(order_id: uuid.UUID) -> audit.Audit:
    try:
        return audit.audit_of(order_id)
    except Order.DoesNotExist:
        raise Http404 from None
