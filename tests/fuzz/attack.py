"""Requests as the API's description has them and as it has not, and what is wrong with the answers.

No answer may be a 5xx, and each has a status, a type of content and a form that the description knows.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import schemathesis
from django.conf import settings
from django.core.asgi import get_asgi_application
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as drawing
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from orders_site.bodies import BoundedBodies
from tests.fuzz.world import Known

CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE")
ODD_BODIES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"{", b"[" * 5_000, b"[NaN]", b'{"a": 1, "a": 2}', b'{"\\ud800": 0}', b"9" * 5_000, b"null", b""]),
)
Operation = APIOperation[Any, Any, Any, Any]
Request = Case[Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]


def sensible() -> dict[str, Any]:
    """What the description does not say of fields: which values make sense now."""
    now = datetime.now(UTC)
    return {
        "version": None,
        "until": (now + timedelta(hours=1)).isoformat(),
        "due_at": (now + timedelta(days=3)).isoformat(),
        "question": "Which lamp do you mean?",
        "reason": "She rang.",
        "code": "",
        "amount_minor": 100,
        "text": "She rang.",
    }


class Attack:
    """Asks the desk's own ASGI application in this process; `faults` has the first request that showed each fault."""

    def __init__(self) -> None:
        application = BoundedBodies(get_asgi_application(), most=settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        self.schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", application)
        self.operations: list[Operation] = [
            found.ok() for found in self.schema.get_all_operations() if isinstance(found, Ok)
        ]
        self.statuses: Counter[int] = Counter()
        self.reached: Counter[str] = Counter()  # the operations that did what they were asked
        self.faults: dict[str, str] = {}
        self._known = Known()

    def ask_everything(self, *, seed_of_round: int, times: int, until: float = float("inf")) -> None:
        """Each operation `times` as described, and half as often as it is not."""
        self._known.renew()
        for operation in Random(seed_of_round).sample(self.operations, len(self.operations)):  # noqa: S311
            if time.monotonic() > until:
                return
            self._ask(operation, GenerationMode.POSITIVE, seed_of_round, times)
            self._ask(operation, GenerationMode.NEGATIVE, seed_of_round, max(1, times // 2))

    def ask_by_other_methods(self) -> None:
        """Each path by every method that is not described there: 405, and which there are."""
        described: dict[str, set[str]] = defaultdict(set)
        for operation in self.operations:
            described[operation.path].add(operation.method.upper())
        for operation in {operation.path: operation for operation in self.operations}.values():
            for method in sorted({*METHODS} - described[operation.path]):
                case = operation.Case(path_parameters=self._parameters(), method=method)  # type: ignore[arg-type]
                answer = case.call(headers=self._headers(self._known.tokens[0]))
                self.statuses[answer.status_code] += 1
                allowed = set((answer.headers.get("allow") or [""])[0].split(", "))
                if answer.status_code != 405 or allowed != described[operation.path]:
                    self.faults[f"{method} {operation.path}: {answer.status_code}, Allow: {allowed}"] = ""

    def _ask(self, operation: Operation, mode: GenerationMode, seed_of_round: int, times: int) -> None:
        @seed(seed_of_round)
        @drawing(
            max_examples=times,
            phases=[Phase.generate],  # nothing is asked twice: the first answer changed what is there
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(mode), data=st.data())
        def ask(case: Request, data: st.DataObject) -> None:
            told = self._steer(case, data.draw)
            answer = case.call(**told)
            self.statuses[answer.status_code] += 1
            if answer.status_code < 300:
                self.reached[operation.label] += 1
            try:
                case.validate_response(answer, checks=CHECKS)
            except FailureGroup as group:
                for fault in group.exceptions:
                    name = f"{operation.label}: {answer.status_code}: {fault}".partition("\n\n[")[0]
                    self.faults.setdefault(name, case.as_curl_command(told["headers"]))

        ask()

    def _steer(self, case: Request, draw: Draw) -> dict[str, Any]:
        """Mostly at what there is, in its present version, by somebody who may."""

        def mostly() -> bool:
            return bool(draw(st.integers(0, 5)))

        for name, value in self._parameters(draw).items():
            if name in case.path_parameters and mostly():
                case.path_parameters[name] = value
        if case.path.endswith("/wait"):
            case.query["seconds"] = 1  # nobody waits longer for an order that goes nowhere
        if isinstance(case.body, dict) and mostly():
            self._steer_body(case.body, draw)
        token = self._known.tokens[0] if mostly() else draw(st.sampled_from(self._known.tokens))
        told: dict[str, Any] = {"headers": self._headers(token)}
        if case.method.upper() != "GET" and not mostly():
            told["data"] = draw(ODD_BODIES)
        return told

    def _steer_body(self, body: dict[str, Any], draw: Draw) -> None:
        for name, value in sensible().items():
            if name in body and draw(st.integers(0, 3)):
                body[name] = value
        if "lines" in body and isinstance(body["lines"], list):
            body |= {"currency": "EUR", "customer_name": draw(st.text(max_size=20)) or "Ann", "customer_email": ""}
            body["lines"] = [{"sku": "LAMP", "quantity": 1, "unit_price_minor": draw(st.integers(0, 10**6))}]
            body["address"] = {"country": "DE", "line1": "Lindenstr. 4", "city": "Berlin", "postal_code": "10969"}
        if "orders" in body and isinstance(body["orders"], list):
            chosen = [str(order.pk) for order in self._known.orders]
            named = body["orders"] and isinstance(body["orders"][0], dict)
            body["orders"] = [{"id": one, "version": 4} for one in chosen] if named else chosen

    def _parameters(self, draw: Draw | None = None) -> dict[str, Any]:
        there: dict[str, list[Any]] = {
            "order_id": [str(order.pk) for order in self._known.orders],
            "note_id": self._known.notes,
            "bulk_id": self._known.bulks,
        }
        return {name: draw(st.sampled_from(values)) if draw else values[0] for name, values in there.items()}

    @staticmethod
    def _headers(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}
