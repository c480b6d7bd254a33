"""The desk's one door: its page, and how it is held against guessing."""

import logging
from datetime import timedelta
from http import HTTPStatus
from ipaddress import ip_address
from math import ceil

from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from orders.services import signing_in
from orders.services.signing_in import TooManyTries

logger = logging.getLogger(__name__)


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

    def _too_many(self, name: str, wait: timedelta) -> HttpResponse:
        """The page without a look at the password; what was typed as the name stays."""
        form = AuthenticationForm(self.request, initial={"username": name})
        context = self.get_context_data(form=form, minutes=max(1, ceil(wait / timedelta(minutes=1))))
        answer = self.render_to_response(context, status=HTTPStatus.TOO_MANY_REQUESTS)
        answer.headers["Retry-After"] = str(max(1, ceil(wait.total_seconds())))
        return answer


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
