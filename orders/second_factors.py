"""The page on which admins reset the second factor of others, with the trace it leaves; and the end of one's own."""

from collections.abc import Sequence

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from orders.models import AccountEvent, SecondFactor
from orders.people import show_me
from orders.roles import DECIDE_ESCALATED
from orders.services import second_factor, signing_in
from orders.services.actors import Actor, NotPermitted
from orders.services.second_factor import KEEP_ACCOUNTS, ResetRefused, WrongCode
from orders.services.signing_in import TooManyTries
from orders.signing_in import client_address

PEOPLE, EVENTS = 200, 50


@require_http_methods(["GET", "HEAD", "POST"])
def second_factors(request: HttpRequest) -> HttpResponse:
    """Of whom a second factor is asked, who has one, and what happened to them; with a POST one is reset."""
    actor = Actor.operator(request.user)
    if not actor.has(KEEP_ACCOUNTS):
        raise PermissionDenied("Second factors are reset by admins. Your own stands under Mine.")
    if not settings.SECOND_FACTOR:
        raise Http404
    if request.method != "POST":
        return _page(request)
    user = next((user for user in _asked() if user.get_username() == request.POST.get("who")), None)
    if user is None:
        raise Http404
    try:
        second_factor.reset(user=user, reason=request.POST.get("reason", ""), actor=actor, at=timezone.now())
    except ResetRefused as refusal:
        return _page(request, wrong=str(refusal), wrong_who=user.get_username(), status=422)
    except NotPermitted as refusal:
        raise PermissionDenied(str(refusal)) from None
    messages.success(request, f"{user.get_username()} is signed out everywhere, and sets up a second factor next time.")
    return redirect("orders:second_factors")


@sensitive_post_parameters("code")
@require_POST
def reset_own(request: HttpRequest) -> HttpResponse:
    """Give up one's own, for a recovery code; guessing those is held up as at the sign-in."""
    user, now = request.user, timezone.now()
    if not isinstance(user, User) or not SecondFactor.objects.filter(user=user).exists():
        raise Http404
    name, address = user.get_username(), client_address(request)
    try:
        signing_in.begin(name=name, address=address, at=now, code=True)
        second_factor.reset_own(user=user, code=request.POST.get("code", ""), at=now)
    except TooManyTries:
        return show_me(request, wrong_code="Too many codes were wrong. Try again in a while.", status=429)
    except WrongCode:
        return show_me(request, wrong_code="That is none of the recovery codes that you have left.", status=422)
    signing_in.succeed(name=name, address=address, code=True)
    return redirect("orders:me")  # which asks to sign in


def _asked() -> Sequence[User]:
    """Whoever a second factor is asked of, by name."""
    leads = User.objects.with_perm(DECIDE_ESCALATED)
    asked = User.objects.filter(Q(pk__in=leads.values("pk")) | Q(is_staff=True), is_active=True)
    return list(asked.select_related("second_factor").order_by("username")[:PEOPLE])


def _page(request: HttpRequest, *, status: int = 200, **told: str) -> HttpResponse:
    context = {
        "here": "second_factors",
        "asked": _asked(),
        "events": AccountEvent.objects.select_related("account")[:EVENTS],
        "typed": request.POST.get("reason", ""),
        **told,
    }
    return render(request, "orders/second_factors.html", context, status=status)
