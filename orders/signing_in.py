"""The desk's one door: its pages, for the password and for the second factor, and how they are held against guessing.

Between the two nobody is signed in: the session holds who is about to be, and nothing of the desk opens for that.
"""

import logging
from base64 import b32encode, b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from ipaddress import ip_address
from math import ceil

import segno
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from orders.models import SecondFactor
from orders.sealing import CannotUnseal, seal, unseal
from orders.services import second_factor, signing_in
from orders.services.second_factor import WrongCode
from orders.services.signing_in import TooManyTries

logger = logging.getLogger(__name__)

ABOUT_TO = "about_to_sign_in"  # in a session: who has shown the password, and not yet the second factor
PATIENCE = timedelta(minutes=10)
QUIET = 4  # modules around a QR code, as its standard has it


class SignIn(LoginView):
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        """A try, unless there were too many; without a name or a password it is none."""
        name, now = request.POST.get("username", "").strip(), timezone.now()
        if not (name and request.POST.get("password")):
            return super().post(request, *args, **kwargs)
        address = client_address(request)
        try:
            signing_in.begin(name=name, address=address, at=now)
        except TooManyTries as refusal:
            logger.warning("Too many tries to sign in as %s from %s", _known(name), address)
            return self._too_many(name, refusal.again_at - now)
        answer = super().post(request, *args, **kwargs)
        if answer.status_code == HTTPStatus.FOUND:
            signing_in.succeed(name=name, address=address)
        else:
            logger.warning("Sign-in refused as %s from %s", _known(name), address)
        return answer

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """The password was right; whoever is asked for a second factor is signed in by that."""
        user = form.get_user()
        if not (isinstance(user, User) and second_factor.is_asked_of(user)):
            return super().form_valid(form)
        self.request.session.flush()
        self.request.session[ABOUT_TO] = {
            "user": user.pk,
            "backend": user.backend,
            "password": user.get_session_auth_hash(),
            "at": int(timezone.now().timestamp()),
            "next": self.get_success_url(),
            "secret": _sealed(second_factor.new_secret(), user),
        }
        return redirect("second_factor")

    def _too_many(self, name: str, wait: timedelta) -> HttpResponse:
        """The page without a look at the password; what was typed as the name stays."""
        form = AuthenticationForm(self.request, initial={"username": name})
        context = self.get_context_data(form=form, minutes=_minutes(wait))
        answer = self.render_to_response(context, status=HTTPStatus.TOO_MANY_REQUESTS)
        return _to_wait(answer, wait)


# The second factor


@dataclass(frozen=True)
class AboutTo:
    """Who has shown the password lately. `secret` is theirs if they have no second factor yet and set one up now."""

    user: User
    backend: str
    next: str
    secret: bytes


@login_not_required
@sensitive_post_parameters("code")
@require_http_methods(["GET", "HEAD", "POST"])
def show_second_factor(request: HttpRequest) -> HttpResponse:
    """After the password: a code of the app, or a recovery code; or a second factor is set up, and then shown."""
    now = timezone.now()
    waiting = _about_to(request, now)
    if waiting is None:
        return redirect("login")
    if request.method != "POST":
        return _ask_for_code(request, waiting)
    name, address, code = waiting.user.get_username(), client_address(request), request.POST.get("code", "")
    try:
        signing_in.begin(name=name, address=address, at=now, code=True)
    except TooManyTries as refusal:
        logger.warning("Too many codes tried as %s from %s", name, address)
        answer = _ask_for_code(request, waiting, status=429, minutes=_minutes(refusal.again_at - now))
        return _to_wait(answer, refusal.again_at - now)
    try:
        return _sign_in(request, waiting, code, now)
    except WrongCode:
        logger.warning("Code refused as %s from %s", name, address)
        return _ask_for_code(request, waiting, status=422, is_wrong=True)


def _sign_in(request: HttpRequest, waiting: AboutTo, code: str, now: datetime) -> HttpResponse:
    """Raises WrongCode."""
    user = waiting.user
    codes: list[str] = []
    if SecondFactor.objects.filter(user=user).exists():
        factor = second_factor.check(user=user, code=code, at=now)
    else:
        factor, codes = second_factor.set_up(user=user, secret=waiting.secret, code=code, at=now)
    signing_in.succeed(name=user.get_username(), address=client_address(request), code=True)
    del request.session[ABOUT_TO]
    login(request, user, waiting.backend)
    request.session[second_factor.SHOWN] = factor.pk
    if not codes:
        return redirect(waiting.next)
    return render(request, "registration/recovery_codes.html", {"codes": codes, "next": waiting.next})


def _about_to(request: HttpRequest, now: datetime) -> AboutTo | None:
    told: Mapping[str, str] = request.session.get(ABOUT_TO, {})
    user = User.objects.filter(pk=told.get("user", 0), is_active=True).first()
    if user is None or datetime.fromtimestamp(float(told["at"]), now.tzinfo) + PATIENCE < now:
        return None
    if not constant_time_compare(told["password"], user.get_session_auth_hash()):
        return None
    try:
        secret = unseal(b64decode(told["secret"]), of=_pending(user))
    except CannotUnseal:
        return None
    return AboutTo(user, told["backend"], told["next"], secret)


def _ask_for_code(request: HttpRequest, waiting: AboutTo, *, status: int = 200, **told: object) -> HttpResponse:
    context: dict[str, object] = {"who": waiting.user.get_username(), **told}
    if not SecondFactor.objects.filter(user=waiting.user).exists():
        key = b32encode(waiting.secret).decode()
        context |= {
            "key": " ".join(key[at : at + 4] for at in range(0, len(key), 4)),
            "qr": _qr(second_factor.provisioning_uri(waiting.secret, waiting.user.get_username())),
        }
    return render(request, "registration/second_factor.html", context, status=status)


def _qr(text: str) -> Mapping[str, object]:
    """A QR code as the `d` of an SVG's path, on a square of so many units."""
    rows = list(segno.make(text, micro=False).matrix_iter(border=QUIET))
    dark = [(x, y) for y, row in enumerate(rows) for x, module in enumerate(row) if module]
    return {"size": len(rows), "path": "".join(f"M{x} {y}h1v1h-1z" for x, y in dark)}


def _sealed(secret: bytes, user: User) -> str:
    return b64encode(seal(secret, of=_pending(user))).decode()


def _pending(user: User) -> str:
    return f"second factor that {user.pk} may set up"


def _minutes(wait: timedelta) -> int:
    return max(1, ceil(wait / timedelta(minutes=1)))


def _to_wait(answer: HttpResponse, wait: timedelta) -> HttpResponse:
    answer.headers["Retry-After"] = str(max(1, ceil(wait.total_seconds())))
    return answer


# Where somebody is


def client_address(request: HttpRequest) -> str:
    """Where the request comes from: what the nearest proxy says that is none of our own, of those we believe.

    Without a peer, on a unix socket, it is a proxy of ours.
    """
    peer = request.META.get("REMOTE_ADDR") or "127.0.0.1"
    told = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
    for address in [peer, *reversed(told)]:
        try:
            parsed = ip_address(address)
        except ValueError:
            break
        peer = address
        if not any(parsed in proxies for proxies in settings.TRUSTED_PROXIES):
            break
    return peer


def _known(name: str) -> str:
    """Only a name that there is: some type their password there."""
    return name if "\0" not in name and User.objects.filter(username=name).exists() else "nobody that there is"
