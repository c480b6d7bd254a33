"""Views of the queue that people save: a filter under a name, for themselves or, where they may, for everybody."""

from datetime import datetime

from django.db import IntegrityError, transaction

from orders.filters import Filter
from orders.models import SavedView
from orders.roles import SHARE_VIEWS
from orders.services.actors import Actor, NotPermitted
from orders.services.texts import wrong_with_note

MOST_VIEWS = 12  # of one person, and as many shared: each is counted whenever the queue is shown
LONGEST_NAME = 40
LONGEST_QUERY = 1_000


class ViewRefused(Exception):
    """The view cannot be saved so. The message is for the person."""


def save_view(*, actor: Actor, name: str, wanted: Filter, is_shared: bool, at: datetime) -> SavedView:
    """Keep a filter under a name.

    Raises NotPermitted where only leads may share, and ViewRefused where the name is bad or taken, the filter leaves
    nothing out or is too long, or there are too many views.
    """
    if actor.user is None or (is_shared and not actor.has(SHARE_VIEWS)):
        raise NotPermitted("Only leads save views for everybody.")
    if not wanted.query():
        raise ViewRefused("Filter or sort the queue first: this would show all of it.")
    if len(wanted.query()) > LONGEST_QUERY:
        raise ViewRefused("This filter is too long to be saved. Shorten its text.")
    there = SavedView.objects.filter(is_shared=True) if is_shared else SavedView.objects.filter(owner=actor.user)
    if there.count() >= MOST_VIEWS:
        raise ViewRefused(f"There are {MOST_VIEWS} views already. Delete one that is not needed any more.")
    view = SavedView(owner=actor.user, query=wanted.query(), is_shared=is_shared, created_at=at)
    return _named(view, name)


def rename_view(*, view_id: int, actor: Actor, name: str) -> SavedView:
    """Raises SavedView.DoesNotExist, NotPermitted, and ViewRefused where the name is bad or taken."""
    return _named(_own(view_id, actor), name)


def delete_view(*, view_id: int, actor: Actor) -> SavedView:
    """Raises SavedView.DoesNotExist and NotPermitted."""
    view = _own(view_id, actor)
    SavedView.objects.filter(pk=view.pk).delete()
    return view


def may_change(actor: Actor, view: SavedView) -> bool:
    """One's own, unless it is shared: then whoever may share."""
    return actor.has(SHARE_VIEWS) if view.is_shared else view.owner_id == getattr(actor.user, "pk", None)


def _own(view_id: int, actor: Actor) -> SavedView:
    view = SavedView.objects.get(pk=view_id)
    if not view.is_shared and not may_change(actor, view):
        raise SavedView.DoesNotExist  # others' views are nobody's business
    if not may_change(actor, view):
        raise NotPermitted("Only leads change what everybody sees.")
    return view


def _named(view: SavedView, name: str) -> SavedView:
    name = " ".join(name.split())
    if not name:
        raise ViewRefused("Give the view a name.")
    if len(name) > LONGEST_NAME or wrong_with_note(name):
        raise ViewRefused(f"Give the view a name of at most {LONGEST_NAME} characters.")
    view.name = name
    try:
        with transaction.atomic():
            view.save()
    except IntegrityError:
        raise ViewRefused(f"There is a view called “{name}” already.") from None
    return view
