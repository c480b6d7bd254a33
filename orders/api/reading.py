"""Who calls, and what they sent. JSON is read more strictly than Python does: what is ambiguous is refused."""

import json
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils import timezone
from ninja.parser import Parser
from ninja.security import HttpBearer

from orders.api.problems import Problem, too_large
from orders.models import ApiClient, ApiScope
from orders.services import clients
from orders.services.actors import Actor


class Token(HttpBearer):
    def __init__(self, scope: ApiScope) -> None:
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> ApiClient | None:
        client = clients.client_with_token(token=token, at=timezone.now())
        if client and self.scope not in client.scopes:
            raise Problem(403, f"This token does not have the scope {self.scope}.")
        return client


def caller(request: HttpRequest) -> ApiClient:
    client: ApiClient = request.auth  # type: ignore[attr-defined]
    return client


def decider(request: HttpRequest) -> Actor:
    """The user as whom the client decides: the service asks for that user's role."""
    user: User | None = caller(request).user
    if user is None:
        raise Problem(403, "This token is not linked to a user as whom it could decide.")
    return Actor.operator(user)


class StrictJson(Parser):
    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        """Raises Problem. Whatever is wrong with the text, the body as a whole is named."""
        if request.content_type != "application/json":
            raise Problem(415, "Send JSON, with Content-Type: application/json.", {"Content-Type": "is another"})
        if len(request.body) > settings.API_BODY_BYTES:
            raise too_large()
        try:
            parsed: dict[str, Any] = json.loads(
                request.body.decode(), object_pairs_hook=_no_name_twice, parse_constant=_no_constant
            )
        except UnicodeDecodeError:
            raise _malformed("is not UTF-8") from None
        except RecursionError:
            raise _malformed("is nested too deeply") from None
        except json.JSONDecodeError as error:
            raise _malformed(f"is not JSON: {error}") from None
        except ValueError:  # a number of thousands of digits
            raise _malformed("has a number that is too long") from None
        return parsed


def _malformed(wrong: str, field: str = "body") -> Problem:
    return Problem(400, "The body cannot be read.", {field: wrong})


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise _malformed("has a field whose name is not valid text") from None
        if name in found:
            raise _malformed("is there twice", name)
        found[name] = value
    return found


def _no_constant(name: str) -> Any:
    raise _malformed(f"has {name}, which is not JSON")
