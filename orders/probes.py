"""What machines ask: is it alive, can it serve, how is it doing. Nobody signs in for it, and nothing here writes."""

import secrets

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from orders import metrics
from orders.readiness import State, readiness


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Alive. Says nothing of the servers behind: a web process without its database is not helped by a restart."""
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Whether it can serve: 200 also where decisions are carried out later only, 503 where nobody can decide."""
    found = readiness(at=timezone.now())
    return JsonResponse(
        {"state": found.state, "checks": found.checks}, status=503 if found.state == State.UNREADY else 200
    )


@login_not_required
@require_safe
def figures(request: HttpRequest) -> HttpResponse:
    """For Prometheus, by its token. There is no such page on a desk that has none."""
    if not settings.METRICS_TOKEN:
        raise Http404
    given = request.headers.get("Authorization", "")
    if not secrets.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode()):
        return HttpResponse(
            "The token in METRICS_TOKEN is needed.\n",
            status=401,
            content_type="text/plain",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return HttpResponse(metrics.exposition(), content_type=CONTENT_TYPE_LATEST)
