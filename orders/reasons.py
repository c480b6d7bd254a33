"""The page on which leads keep the reasons for rejecting."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from orders import selectors
from orders.models import RejectReason
from orders.roles import KEEP_REASONS
from orders.services import reasons as keeping
from orders.services.actors import Actor, NotPermitted

NOT_PERMITTED = "The reasons for rejecting are kept by leads."


@require_http_methods(["GET", "HEAD", "POST"])
def reasons(request: HttpRequest) -> HttpResponse:
    """All reasons, those in use first; to add, to rename, to retire and to take into use again."""
    actor = Actor.operator(request.user)
    if not actor.has(KEEP_REASONS):
        raise PermissionDenied(NOT_PERMITTED)
    if request.method != "POST":
        return _page(request)
    try:
        said = _keep(request, actor)
    except keeping.ReasonRefused as refusal:
        return _page(request, wrong=str(refusal), status=422)
    except RejectReason.DoesNotExist:
        raise Http404 from None
    except NotPermitted:
        raise PermissionDenied(NOT_PERMITTED) from None
    messages.success(request, said)
    return redirect("orders:reasons")


def _keep(request: HttpRequest, actor: Actor) -> str:
    code, text = request.POST.get("code", ""), request.POST.get("text", "")
    if "\0" in code:
        raise Http404
    match request.POST.get("do"):
        case "add":
            return f"“{keeping.add_reason(text=text, actor=actor).text}” can be chosen from now on."
        case "rename":
            return f"It reads “{keeping.rename_reason(code=code, text=text, actor=actor).text}” now."
        case "retire":
            return f"“{keeping.use_reason(code=code, active=False, actor=actor).text}” can no longer be chosen."
        case "use":
            return f"“{keeping.use_reason(code=code, active=True, actor=actor).text}” can be chosen again."
    raise Http404


def _page(request: HttpRequest, *, wrong: str = "", status: int = 200) -> HttpResponse:
    """`wrong` is about the reason whose code was sent, or about the new one."""
    told = {
        "here": "reasons",
        "all_reasons": selectors.all_reject_reasons(),
        "wrong": wrong,
        "wrong_code": request.POST.get("code", ""),
        "typed": request.POST.get("text", ""),
    }
    return render(request, "orders/reasons.html", told, status=status)
