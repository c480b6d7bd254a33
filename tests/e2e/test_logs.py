"""What the web server and the worker log of an order that a program places: all of its story, nothing private."""

import json
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, running

PRIVATE = {
    "customer_name": "Zenobia Quill",
    "customer_email": "zenobia.quill@example.net",
    "address": {"country": "DE", "line1": "Geheimgasse 77", "city": "Kleinmachnow", "postal_code": "14532"},
}


@pytest.mark.parametrize("form", ["line", "json"])
def test_no_log_of_any_process_has_a_secret_or_anything_of_the_customer(tmp_path: Path, form: str) -> None:
    with running(tmp_path, LOG_FORMAT=form, SIMULATOR_ERROR_RATE="0.3") as stack:
        made = stack.manage("create_api_client", "shop", "--scope", "read", "--scope", "place")
        token = max(made.split(), key=len)
        line = {"sku": "LAMP", "quantity": 1, "unit_price_minor": 20_000}
        order = call(stack, token, "", {**PRIVATE, "currency": "EUR", "lines": [line]})
        while not call(stack, token, f"/{order['id']}/wait")["has_ended"]:
            pass
        secrets = [token, stack.environment["DJANGO_SECRET_KEY"]]
    logs = "".join(log.read_text() for log in (stack.web.log, stack.worker.log))

    assert logs.count(str(order["number"])) > 8
    for private in (*secrets, "Zenobia", "Quill", "zenobia", "example.net", "Geheimgasse", "Kleinmachnow", "14532"):
        assert private not in logs


def call(stack: Stack, token: str, path: str, body: object = None) -> dict[str, object]:
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{stack.url}/api/v1/orders{path}",
        data=json.dumps(body).encode() if body else None,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": "one"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        told: dict[str, object] = json.load(answer)
    return told
