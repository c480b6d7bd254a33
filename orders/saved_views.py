"""The tabs above the queue: those that everybody has, those that were shared, and one's own."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from orders import filters, selectors
from orders.context import desk_state
from orders.filters import STANDING_VIEWS, Filter
from orders.models import SavedView
from orders.paging import Count
from orders.services import viewing
from orders.services.actors import Actor, NotPermitted
from orders.statements import SOMEBODY, Kept, Shape


@dataclass(frozen=True)
class Tab:
    """`key` tells it from the others on the page; `count` is None where the filter makes no sense any more."""

    key: str
    name: str
    query: str
    is_current: bool
    count: Count | None
    view: SavedView | None = None
    may_change: bool = False


def tabs(*, viewer: AbstractBaseUser | AnonymousUser, wanted: Filter | None, at: datetime) -> list[Tab]:
    """Every tab with how many it shows, counted up to the cap, all by one query besides that for the views."""
    actor = Actor.operator(viewer)
    saved: list[SavedView] = _VIEWS.of(viewer.pk)
    named: list[tuple[str, str, str, SavedView | None]] = [
        (f"all-{number}", name, query, None)
        for number, (name, query) in enumerate((("All waiting", ""), *STANDING_VIEWS))
    ]
    named += [(f"view-{view.pk}", view.name, view.query, view) for view in saved]
    known = {key: _parsed(query) for key, _, query, _ in named}
    makes_sense = {key: parsed for key, parsed in known.items() if parsed is not None}
    numbers = selectors.count_queues(list(makes_sense.values()), at=at, viewer=viewer)
    counts = dict(zip(makes_sense, numbers, strict=True))
    return [
        Tab(
            key=key,
            name=name,
            query=query,
            is_current=known[key] is not None and known[key] == wanted,
            count=counts.get(key),
            view=view,
            may_change=view is not None and viewing.may_change(actor, view),
        )
        for key, name, query, view in named
    ]


def _views(viewer: int) -> QuerySet[SavedView]:
    seen = SavedView.objects.filter(Q(is_shared=True) | Q(owner=viewer))
    return seen.order_by("-is_shared", "name", "id")[: 2 * viewing.MOST_VIEWS]


_VIEWS = Kept(Shape(SavedView), _views, some=SOMEBODY)


@lru_cache(maxsize=1_000)
def _parsed(query: str) -> Filter | None:
    """None where it was saved when there was more to choose from than now."""
    try:
        return filters.parse(QueryDict(query))
    except filters.BadFilter:
        return None


@require_safe
def count_views(request: HttpRequest) -> HttpResponse:
    """The counts of the tabs as they are now: each person has tabs of their own, so the stream does not bring them."""
    shown = tabs(viewer=request.user, wanted=None, at=timezone.now())
    state = {"looked_at": desk_state()["looked_at"]}
    return JsonResponse(
        {"fragments": [render_to_string("orders/_view_count.html", {"tab": tab, **state}) for tab in shown]}
    )


@require_POST
def save_view(request: HttpRequest) -> HttpResponse:
    """Keep the filter that the queue shows as a tab."""
    query = request.POST.get("query", "")
    try:
        wanted = filters.parse(QueryDict(query))
        view = viewing.save_view(
            actor=Actor.operator(request.user),
            name=request.POST.get("name", ""),
            wanted=wanted,
            is_shared="shared" in request.POST,
            at=timezone.now(),
        )
    except (filters.BadFilter, viewing.ViewRefused, NotPermitted) as refused:
        messages.error(request, str(refused))
        return _to_the_queue(query)
    messages.success(request, f"Saved as “{view.name}”{', for everybody' if view.is_shared else ''}.")
    return _to_the_queue(view.query)


@require_POST
def rename_view(request: HttpRequest, view_id: int) -> HttpResponse:
    try:
        view = viewing.rename_view(
            view_id=view_id, actor=Actor.operator(request.user), name=request.POST.get("name", "")
        )
    except SavedView.DoesNotExist:
        raise Http404 from None
    except (viewing.ViewRefused, NotPermitted) as refused:
        messages.error(request, str(refused))
        return _to_the_queue(request.POST.get("query", ""))
    messages.success(request, f"It is called “{view.name}” now.")
    return _to_the_queue(view.query)


@require_POST
def delete_view(request: HttpRequest, view_id: int) -> HttpResponse:
    try:
        view = viewing.delete_view(view_id=view_id, actor=Actor.operator(request.user))
    except SavedView.DoesNotExist:
        raise Http404 from None
    except NotPermitted as refused:
        messages.error(request, str(refused))
        return _to_the_queue(request.POST.get("query", ""))
    messages.success(request, f"The view “{view.name}” is gone. What it showed is still in the queue.")
    return _to_the_queue("")


def _to_the_queue(query: str) -> HttpResponse:
    return redirect(f"{reverse('orders:queue')}?{query}" if query else "orders:queue")
