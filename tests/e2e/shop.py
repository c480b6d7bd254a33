"""A shop's program: it places an order, asks how that fares, and reads in the logs what none of them may tell."""

import json
import urllib.request

from tests.e2e.stack import Stack

PRIVATE = {
    "customer_name": "Zenobia Quill",
    "customer_email": "zenobia.quill@example.net",
    "address": {"country": "DE", "line1": "Geheimgasse 77", "city": "Kleinmachnow", "postal_code": "14532"},
}
WORDS = ("Zenobia", "Quill", "zenobia", "example.net", "Geheimgasse", "Kleinmachnow", "14532")


class Shop:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        made = stack.manage("create_api_client", "shop", "--scope", "read", "--scope", "place")
        self._token = max(made.split(), key=len)

    def place(self) -> dict[str, object]:
        line = {"sku": "LAMP", "quantity": 1, "unit_price_minor": 20_000}
        return self._call("", {**PRIVATE, "currency": "EUR", "lines": [line]})

    def wait(self, order: dict[str, object], seconds: int = 25) -> dict[str, object]:
        """Where it stands, once it has ended or the time is up."""
        return self._call(f"/{order['id']}/wait?seconds={seconds}")

    def ask(self, order: dict[str, object]) -> dict[str, object]:
        """Where it stands, and what Temporal knows of it."""
        return self._call(f"/{order['id']}/live")

    def private_in_logs(self, order: dict[str, object]) -> list[str]:
        """What the web server and the worker tell that is nobody's business; they do tell of the order."""
        logs = "".join(log.read_text() for log in (self._stack.web.log, self._stack.worker.log))
        assert logs.count(str(order["number"])) > 8
        secrets = (self._token, self._stack.environment["DJANGO_SECRET_KEY"])
        return [word for word in (*secrets, *WORDS) if word in logs]

    def _call(self, path: str, body: object = None) -> dict[str, object]:
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self._stack.url}/api/v1/orders{path}",
            data=json.dumps(body).encode() if body else None,
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/json",
                "Idempotency-Key": "one",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            told: dict[str, object] = json.load(answer)
        return told
