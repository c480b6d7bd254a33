"""What every page shows around its own matter: whether the engine runs, and how many orders wait."""

import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from orders import conventions, engine, notes, selectors


def desk(request: HttpRequest) -> dict[str, Any]:
    """Asked only where a template uses it, and only for people who are signed in."""
    if not getattr(request, "user", None) or not request.user.is_authenticated:
        return {}
    return desk_state() | {
        "conventions": conventions.in_force(),
        "mentions": SimpleLazyObject(lambda: notes.unseen_count(request.user.pk or 0)),
        "second_factors": settings.SECOND_FACTOR,
        "reject_reasons": SimpleLazyObject(selectors.reject_reasons),
    }


def desk_state() -> dict[str, Any]:
    counts = SimpleLazyObject(selectors.waiting_counts)
    return {
        "engine": SimpleLazyObject(lambda: engine.look(at=timezone.now())),
        "waiting": SimpleLazyObject(lambda: counts[0]),
        "helpless": SimpleLazyObject(lambda: counts[1]),
        # A later look is a higher version: an answer that was overtaken never replaces a newer one.
        "looked_at": time.time_ns() // 1_000_000,
    }
