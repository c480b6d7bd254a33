"""Where the bank says by itself what became of a charge: POST /webhooks/payments, signed, in any order, repeatedly.

The header `Payment-Signature: t=<seconds since 1970>,v1=<hex>` carries the HMAC-SHA256 of `<t>.<body>`. Whatever has
been understood is answered with 200, also where it is about a charge that nobody knows or is not believed: sending it
again would change nothing. Problems are told as the API tells them.
"""

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from orders import outage
from orders.api.problems import Problem, outside_the_desk, problem_of, respond
from orders.models import Payment
from orders.services.paying import BankNews, hear_bank
from orders.services.placing import MOST_MINOR
from orders.services.texts import wrong_with_text
from orders.services.transitions import OrderBusy

MOST_BYTES = 64 * 1024
TOLERANCE = 300  # seconds, both ways
SIGNATURE = "Payment-Signature"
TYPES = (Payment.State.REQUIRES_ACTION, Payment.State.SUCCEEDED, Payment.State.FAILED)


@outside_the_desk
@require_POST
def payments(request: HttpRequest) -> HttpResponse:
    try:
        if request.content_type != "application/json":
            raise Problem(415, "Send JSON.", {"Content-Type": "must be application/json"})
        body = _body(request)
        _check_signature(request.headers.get(SIGNATURE, ""), body, now=time.time())
        return JsonResponse({"outcome": hear_bank(news=_news(_fields(body)), at=datetime.now(UTC))})
    except OrderBusy:
        return respond(Problem(503, "The order is being worked on. Send it again."))
    except (Problem, *outage.AWAY) as error:
        response = respond(problem_of(error))
        if response.status_code == 401:
            response.headers["WWW-Authenticate"] = SIGNATURE
        return response


def _body(request: HttpRequest) -> bytes:
    """Raises Problem where there is more of it than any news has."""
    too_large = Problem(413, "The body is larger than 64 kB.", {"body": "is larger than 64 kB"})
    try:
        if int(request.headers.get("Content-Length") or 0) > MOST_BYTES or len(request.body) > MOST_BYTES:
            raise too_large
    except RequestDataTooBig:
        raise too_large from None
    return request.body


def _check_signature(header: str, body: bytes, *, now: float) -> None:
    """Raises Problem unless one of our secrets has signed this body just now."""

    def refuse(why: str) -> NoReturn:
        raise Problem(401, f"The signature {why}.", {SIGNATURE: why})

    if not settings.PAYMENT_WEBHOOK_SECRET:
        refuse("cannot be checked: this desk has no PAYMENT_WEBHOOK_SECRET")
    if not header:
        refuse("is missing")
    parts = [part.strip().partition("=") for part in header[:1_000].split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value.encode() for name, _, value in parts if name == "v1"]
    if len(times) != 1 or not re.fullmatch(r"[0-9]{1,12}", times[0]) or not given:
        refuse("must look like t=1767225600,v1=5f0c…")
    # A secret is tried only on what is fresh, yet the time is believed only where a secret has signed it.
    if abs(now - int(times[0])) > TOLERANCE:
        refuse("is not of the last five minutes")
    signed = f"{times[0]}.".encode() + body
    ours = [
        hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
        for secret in settings.PAYMENT_WEBHOOK_SECRET
    ]
    if not any([hmac.compare_digest(one, other) for one in ours for other in given]):  # noqa: C419 - all, always
        refuse("is not of a secret that this desk shares with the bank")


def _fields(body: bytes) -> dict[str, Any]:
    """Raises Problem where it is no JSON object."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON")

    try:
        told = json.loads(body.decode(), parse_constant=refuse)
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise Problem(400, "The body is no JSON.", {"body": "is no JSON"}) from None
    if not isinstance(told, dict):
        raise Problem(400, "The body is no JSON object.", {"body": "must be an object"})
    return told


def _text(most: int) -> Callable[[object], str]:
    def wrong(value: object) -> str:
        if not isinstance(value, str) or not value:
            return "must be a text"
        return wrong_with_text(value, most)

    return wrong


def _whole_number(most: int) -> Callable[[object], str]:
    def wrong(value: object) -> str:
        fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
        return "" if fits else f"must be a whole number from 0 to {most}"

    return wrong


def _type(value: object) -> str:
    return "" if value in TYPES else f"must be one of {', '.join(TYPES)}"


def _currency(value: object) -> str:
    fits = isinstance(value, str) and re.fullmatch(r"[A-Z]{3}", value)
    return "" if fits else "must be a currency of ISO 4217, such as EUR"


_REQUIRED: dict[str, Callable[[object], str]] = {
    "id": _text(80),
    "type": _type,
    "key": _text(80),
    "reference": _text(80),
    "amount": _whole_number(MOST_MINOR),
    "currency": _currency,
    "created": _whole_number(10**11),
}


def _news(told: dict[str, Any]) -> BankNews:
    """Raises Problem with every field that is not as it should be."""
    errors = {name: check(told[name]) if name in told else "is missing" for name, check in _REQUIRED.items()}
    if "reason" in told:
        errors["reason"] = _text(300)(told["reason"])
    errors = {name: wrong for name, wrong in errors.items() if wrong}
    if errors:
        raise Problem(422, "Some fields are not as they should be.", errors)
    return BankNews(
        id=told["id"],
        says=Payment.State(told["type"]),
        key=told["key"],
        reference=told["reference"],
        amount_minor=told["amount"],
        currency=told["currency"],
        why=told.get("reason") or ("the bank gave no reason" if told["type"] == Payment.State.FAILED else ""),
    )
