"""One order: its timeline by kind, and why what cannot be done with it now cannot be done. Nothing here changes it."""

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from orders import selectors, timeline, wording
from orders.models import Order
from orders.roles import MAY, Role, permission
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


def must_see_orders(user: Person) -> None:
    """Raises PermissionDenied."""
    if not user.has_perms(["orders.view_order", "orders.view_event"]):  # type: ignore[union-attr]
        raise PermissionDenied("Only who may see orders may take their records away.")
