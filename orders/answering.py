"""The one page that customers see: what they were asked about their order, and room for one answer.

It is reached by the link of the mail, without a sign-in, and tells nobody more of the order than its number.
"""

from email.utils import parseaddr
from http import HTTPStatus

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from orders.models import InfoRequest
from orders.services import asking
from orders.services.transitions import OrderBusy


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def answer(request: HttpRequest, token: str) -> HttpResponse:
    try:
        asked = asking.find(token)
    except asking.NoSuchQuestion:
        return _page(request, None, HTTPStatus.NOT_FOUND, closed="This link is not complete. Open it from our mail.")
    typed, wrong, status = "", "", HTTPStatus.OK
    if request.method == "POST":
        typed = request.POST.get("answer", "")
        try:
            asking.answer(token=token, text=typed, at=timezone.now())
            return redirect(request.path)
        except asking.AnswerRefused as refusal:
            wrong, status = str(refusal), HTTPStatus.UNPROCESSABLE_ENTITY
        except OrderBusy:
            wrong, status = "We could not take your answer just now. Try again.", HTTPStatus.SERVICE_UNAVAILABLE
        except asking.QuestionClosed:
            asked, status = asking.find(token), HTTPStatus.CONFLICT
    closed = asking.why_closed(asked, at=timezone.now())
    if closed and status == HTTPStatus.OK and not asked.answered_at:
        status = HTTPStatus.GONE
    return _page(request, asked, status, closed=closed, wrong=wrong, typed=typed)


def _page(request: HttpRequest, asked: InfoRequest | None, status: HTTPStatus, **told: str) -> HttpResponse:
    context = {
        "asked": asked,
        "order": asked.review.order if asked else None,
        "shop": parseaddr(settings.DEFAULT_FROM_EMAIL)[0],
        **told,
    }
    response = render(request, "answer.html", context, status=status)
    response.headers["X-Robots-Tag"] = "noindex"
    return response
