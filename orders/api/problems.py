"""How the API says no: RFC 9457 problem details, which name every bad field."""

import functools
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from orders import outage
from orders.models import Bulk, Note, Order
from orders.services.actors import NotPermitted
from orders.services.addressing import InvalidAddress
from orders.services.asking import CannotWait
from orders.services.bulk import TooMany, UnknownOrder
from orders.services.claiming import NotAColleague
from orders.services.clients import KeyReused
from orders.services.holding import NeverSeen, PageIsStale
from orders.services.noting import NoteRefused
from orders.services.placing import DuplicateReference, InvalidOrder
from orders.services.refunding import AmountRefused
from orders.services.reviewing import DeadlineRefused, UnknownReason
from orders.services.transitions import ActionRefused

logger = logging.getLogger(__name__)

View = Callable[..., HttpResponseBase]

PROBLEM_TYPE = "application/problem+json"

# What a service calls a field, where the API calls it otherwise.
_FIELDS = {"decide_within": "decide_within_seconds", "unit_price": "unit_price_minor"}


class Problem(Exception):
    """An answer that is no success. `errors` says what is wrong with each field."""

    def __init__(self, status: int, detail: str, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or {}


def respond(problem: Problem) -> HttpResponse:
    told = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "errors": [{"field": name, "message": wrong} for name, wrong in problem.errors.items()],
    }
    response = JsonResponse(told, status=problem.status, content_type=PROBLEM_TYPE)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = outage.RETRY_AFTER
    return response


# What was not done, and which field says why.
_WRONG_FIELD: Mapping[type[Exception], tuple[str, str]] = {
    AmountRefused: ("Nothing was refunded.", "amount_minor"),
    DeadlineRefused: ("The deadline was not moved.", "due_at"),
    CannotWait: ("The order was not put off.", "until"),
    UnknownReason: ("The order was not rejected.", "code"),
    NoteRefused: ("The note was not written.", "text"),
    TooMany: ("Nothing was begun.", "orders"),
    UnknownOrder: ("Nothing was begun.", "orders"),
    NotAColleague: ("Nothing was handed over.", "to"),
}
_NOT_THERE: Mapping[type[Exception], tuple[str, str, str]] = {
    Order.DoesNotExist: ("There is no such order.", "order_id", "is not that of an order"),
    Note.DoesNotExist: ("The order has no such note.", "note_id", "is not that of a note on it"),
    Bulk.DoesNotExist: ("There is no such bulk of yours.", "bulk_id", "is not that of a bulk of yours"),
}


def problem_of(error: Exception) -> Problem:
    """What the caller is told of an error; one that is our own fault is logged and told of in general."""
    if isinstance(error, Problem):
        return error
    if told := _refused_by_service(error) or _refused_by_framework(error):
        return told
    if isinstance(error, outage.AWAY):
        logger.error("The database does not serve the API: %s", error)
        return Problem(503, f"{outage.trouble(error)}. Try again in a moment.")
    logger.error("The API failed", exc_info=error)
    return Problem(500, "Something went wrong here; it has been noted.")


def _refused_by_service(error: Exception) -> Problem | None:
    if found := _WRONG_FIELD.get(type(error)):
        said, field = found
        return Problem(422, said, {field: str(error)})
    if missing := _NOT_THERE.get(type(error)):
        said, field, wrong = missing
        return Problem(404, said, {field: wrong})
    match error:
        case InvalidOrder():
            return Problem(422, "The order was not placed.", {_field(name): e for name, e in error.errors.items()})
        case DuplicateReference():
            return Problem(409, f"{error}.", {"reference": "has been sent before"})
        case KeyReused():
            return Problem(409, str(error), {"Idempotency-Key": "has been used with another body"})
        case InvalidAddress():
            return Problem(422, "The address was not changed.", error.errors)
        case PageIsStale() | NeverSeen():
            return Problem(409, str(error), {"version": "is not the present one"})
        case ActionRefused():
            return Problem(409, str(error))
        case NotPermitted():
            return Problem(403, str(error))
    return None


def _refused_by_framework(error: Exception) -> Problem | None:
    match error:
        case ValidationError():
            return Problem(422, "Some fields are not as they should be.", dict(map(_wrong, error.errors)))
        case RequestDataTooBig():
            return too_large()
        case AuthenticationError():
            return Problem(401, "Send a token that is valid: Authorization: Bearer TOKEN.")
        case HttpError(__cause__=Problem() as cause):
            return cause
        case HttpError():
            return Problem(error.status_code, str(error))
    return None


def too_large() -> Problem:
    return Problem(413, "The body is larger than 1 MB.", {"body": "is larger than 1 MB"})


def _field(name: str) -> str:
    stem, dot, last = name.rpartition(".")
    return f"{stem}{dot}{_FIELDS.get(last, last)}"


def _wrong(error: Mapping[str, Any]) -> tuple[str, str]:
    """A finding of pydantic's as the field, in the words of our services, and what is wrong with it."""
    where, *path = error["loc"]
    if where == "body":
        path = path[1:]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    said = {"missing": "is missing", "extra_forbidden": "is not a field that is known"}.get(error["type"])
    return field.encode("utf-8", "replace").decode() or where, said or error["msg"]


def handle_in(api: NinjaAPI) -> None:
    """Let every error of the API, its framework's own included, be told as a problem."""

    def tell(_: HttpRequest, error: Exception | type[Exception]) -> HttpResponse:
        return respond(problem_of(error if isinstance(error, Exception) else error()))

    for kind in (Exception, HttpError, ValidationError):
        api.add_exception_handler(kind, tell)


def outside_the_desk(view: View) -> View:
    """No sign-in, no form token, and no answer that is not JSON."""

    @csrf_exempt
    @login_not_required
    @functools.wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = response.headers["Allow"]
            response = respond(Problem(405, f"Here only {allowed} is possible."))
            response.headers["Allow"] = allowed
        return response

    return answer


@outside_the_desk
def not_found(request: HttpRequest) -> HttpResponse:
    return respond(Problem(404, "There is nothing at this address; see /api/v1/openapi.json."))
