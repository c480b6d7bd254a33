"""The page of mentions. Notes themselves are on their orders' pages, and written through `deciding`."""

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from orders import notes


@require_safe
def mentions(request: HttpRequest) -> HttpResponse:
    """Notes that mention whoever looks, the newest first. A mention counts as seen once its order was opened."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    before = request.GET.get("before", "")
    if before and not (before.isdecimal() and before.isascii() and len(before) < 19):
        return render(request, "400.html", status=400)
    page = notes.mentions_page(request.user, before=int(before) if before else None)
    return render(request, "orders/mentions.html", {"here": "mentions", "page": page, "is_first": not before})
