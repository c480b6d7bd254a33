"""What holds for every answer of the desk."""

import re
import secrets
from typing import Any

import brotli
from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.deprecation import MiddlewareMixin
from django.views.defaults import page_not_found

from orders import conventions
from orders.mine import preferred
from orders.services import second_factor
from orders_site.sessions import SessionStore


class SignInRequired(LoginRequiredMiddleware):
    """Anonymous requests go to sign-in, and so does a session whose user has to show a second factor that it has not.
    A script gets told so instead: it would put the sign-in page into a row.
    """

    def process_view(self, request: HttpRequest, view_func: Any, args: Any, kwargs: Any) -> HttpResponseBase | None:
        asks = getattr(view_func, "login_required", True) and request.user.is_authenticated
        if asks and not second_factor.is_shown(request.user, request.session):
            logout(request)
        return super().process_view(request, view_func, args, kwargs)

    def handle_no_permission(self, request: HttpRequest, view_func: Any) -> HttpResponseBase:  # type: ignore[override]
        if "HX-Request" in request.headers:
            return HttpResponse("Sign in first.\n", status=401, content_type="text/plain")
        return super().handle_no_permission(request, view_func)


class SomebodyActs(MiddlewareMixin):
    """What keeps a session from ending: whatever a person asks for. What an open page asks for by itself does not, or a
    screen that was left would never be signed out: that is under /live/, or asked for without htmx in its name.
    """

    def process_view(self, request: HttpRequest, view_func: Any, args: Any, kwargs: Any) -> None:
        by_itself = "HX-Request" in request.headers and "HX-Current-URL" not in request.headers
        if not getattr(view_func, "login_required", True) or by_itself or request.path.startswith("/live/"):
            return
        if request.user.is_authenticated and isinstance(request.session, SessionStore):
            request.session.act()


_READS_BROTLI = re.compile(r"\bbr\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")


class Brotli(MiddlewareMixin):
    """A page in a sixth fewer bytes than with gzip, which streams and whoever reads no Brotli get from Django.

    The libraries for this read a stream whole before they send any of it.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not isinstance(response, HttpResponse) or len(response.content) < 200 or "Content-Encoding" in response:
            return response
        patch_vary_headers(response, ["Accept-Encoding"])
        if _READS_BROTLI.search(request.headers.get("Accept-Encoding", "")):
            response.content = _compressed(response.content)
            response.headers["Content-Length"] = str(len(response.content))
            response.headers["Content-Encoding"] = "br"
        return response


def _compressed(page: bytes) -> bytes:
    """As Brotli, with up to a hundred random bytes that nobody reads, as in Django's gzip: from a page's exact length
    secrets could be guessed (https://breachattack.com). They are a metadata block (RFC 7932, section 9.2).
    """
    compressor = brotli.Compressor(mode=brotli.MODE_TEXT, quality=5)
    compressed = compressor.process(page) + compressor.flush()
    if padding := secrets.token_bytes(secrets.randbelow(101)):
        head = 0b110 | 1 << 4 | (len(padding) - 1) << 6  # no data, its length in one byte, that length
        compressed += head.to_bytes(2, "little") + padding
    return bytes(compressed + compressor.finish())


class NoStore(MiddlewareMixin):
    """What is behind the sign-in stays out of every cache, the browser's Back button included."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
        return response


class ViewersConventions(MiddlewareMixin):
    """Who is signed in is shown instants in their zone, and amounts as their locale writes them."""

    def process_view(self, request: HttpRequest, view_func: Any, args: Any, kwargs: Any) -> None:
        if getattr(view_func, "login_required", True) and isinstance(request.user, User):
            conventions.put_in_force(preferred(request.user))

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        conventions.end()
        return response


class DesignedNotFound(MiddlewareMixin):
    """With DEBUG on, too, what is not there gets our page; errors keep their traceback."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if settings.DEBUG and response.status_code == 404 and not request.path.startswith(("/api/", "/answer/")):
            return page_not_found(request, Exception())
        return response
