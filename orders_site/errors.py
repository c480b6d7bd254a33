"""What is answered where the database is away or can hold no more: a page that says so, as 503."""

import sys

from django.core.signals import got_request_exception
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter

from orders import outage


@receiver(got_request_exception)
def _remember(request: HttpRequest, **_: object) -> None:
    request.failure = sys.exc_info()[1]  # type: ignore[attr-defined]


class DatabaseAway(MiddlewareMixin):
    """Django makes a 500 of every error, of middleware's too; of these we say that they are worth another try."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        failure = getattr(request, "failure", None)
        if response.status_code != 500 or not isinstance(failure, outage.AWAY):
            return response
        again = request.get_full_path() if request.method in ("GET", "HEAD") else ""
        is_outside = request.path.startswith(("/answer/", "/sign-in/"))
        context = {"trouble": outage.trouble(failure), "again": again, "is_outside": is_outside}
        page = render_to_string("503.html", context)
        return HttpResponse(page, status=503, headers={"Retry-After": outage.RETRY_AFTER, "X-Robots-Tag": "noindex"})


class Reporter(ExceptionReporter):
    """With DEBUG on errors show their variables, and for some of these the database that is away would be asked."""

    def get_traceback_html(self) -> SafeString:
        if isinstance(self.exc_value, outage.AWAY):
            return render_to_string("503.html", {"trouble": outage.trouble(self.exc_value)})
        return super().get_traceback_html()
