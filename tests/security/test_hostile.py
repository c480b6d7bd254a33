"""What strangers and colleagues type, on every page that shows it: text, and nothing else."""

import csv
import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from orders.exporting import DANGEROUS
from orders.models import InfoRequest, Mail, Note, Order, OrderLine, Payment, Product, RejectReason, Review, SavedView
from orders.services import asking, noting, reviewing
from orders.services.actors import Actor
from orders.services.placing import Address, InvalidOrder
from orders.services.texts import wrong_with_note
from orders_site.logs import LineFormatter
from tests.conftest import PlaceOrder

MARK = "zq7"  # what is looked for: it is nowhere in the pages themselves

HOSTILE = {
    "a script": f"<script>{MARK}()</script>",
    "an element": f'"><img src=x onerror={MARK}()>',
    "an attribute": f"' onmouseover='{MARK}()' x='",
    "htmx": f'" hx-get="/{MARK}/" hx-trigger="load" x="',
    "the template language": f"{{{{ {MARK}|safe }}}}{{% load {MARK} %}}",
    "an end of everything": f"</textarea></title></style></template><svg onload={MARK}()>",
    "a link": f"javascript:{MARK}()//",
    "a formula": f"=HYPERLINK({MARK})",
    "another formula": f"+SUM({MARK});-{MARK}",
    "a long word": MARK + "W" * 180,
}
REFUSED = {
    "a line and a header": f"{MARK}\r\nBcc: {MARK}@example.com",
    "an override of the direction of writing": f"{MARK}\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    "an isolate": f"\N{RIGHT-TO-LEFT ISOLATE}{MARK}",
    "a control sequence": f"\x9b2J{MARK}",
    "a terminal's escape": f"\x1b[2J{MARK}",
    "a line separator": f"{MARK}\N{LINE SEPARATOR}{MARK}",
    "nothing": f"{MARK}\0",
}


class Looks(HTMLParser):
    """Finds the mark where it is more than text: in an element, an attribute's name, or one that does something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.is_shown = MARK in page
        self._within = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._within = tag
        for name, value in [(tag, ""), *attributes]:
            does = name.startswith(("on", "hx-", "src", "style", "form"))
            leads_away = name in ("href", "action") and not str(value).startswith(("/", "?", "mailto:"))
            if MARK in name or ((does or leads_away) and MARK in (value or "")):
                self.found.append(f"<{tag} {name}={value!r}>")

    def handle_data(self, data: str) -> None:
        if self._within in ("script", "style") and MARK in data:
            self.found.append(f"<{self._within}>{data}")

    def handle_endtag(self, tag: str) -> None:
        self._within = ""


def order_with(text: str, place: PlaceOrder, people: dict[str, User]) -> Order:
    """An order that has the text wherever somebody can write one."""
    now = datetime.now(UTC)
    lead = Actor.operator(people["lead"])
    address = Address("DE", line1=text[:200], line2=text[:200], city=text[:100], postal_code="10969", region=text[:100])
    order = place(customer_name=text, reference=text[:80], address=address, customer_email="ann.lee@example.com")
    told: dict[str, Any] = {"order_id": order.pk, "at": now}
    for step in (reviewing.receive_order, reviewing.validate_order):
        step(**told)
    note = noting.write_note(**told, actor=lead, text=f"{text} @alice")
    noting.edit_note(**told, note_id=note.pk, actor=lead, text=f"@alice {text}")
    asked = asking.ask(**told, actor=lead, question=text, until=now + timedelta(hours=1))
    asking.answer(token=asking.link_to(asked).rstrip("/").rpartition("/")[2], text=text, at=now)
    asking.snooze(**told, actor=lead, reason=text, until=now + timedelta(hours=1))
    asking.resume(**told, actor=lead)
    return order


@pytest.fixture
def people(alice: User, lead: User, db: None) -> dict[str, User]:
    erin = User.objects.create_superuser("erin")
    return {"alice": alice, "lead": lead, "erin": erin}


@pytest.fixture
def orders(place: PlaceOrder, people: dict[str, User], settings: Settings) -> dict[str, Order]:
    settings.CUSTOMERS_GET_MAIL, settings.DESK_URL = True, "https://desk.example"
    now = datetime.now(UTC)
    Product.objects.filter(sku="LAMP").update(name="".join(HOSTILE.values())[:200], forbidden_reason="")
    found = {what: order_with(text, place, people) for what, text in HOSTILE.items()}
    shared: dict[str, Any] = {"owner": people["lead"], "query": "country=DE", "is_shared": True}
    for number, text in enumerate(HOSTILE.values()):
        RejectReason.objects.create(code=f"reason-{number}", text=text[:80])
        SavedView.objects.create(**shared, name=text[:40], created_at=now)
    return found


def at(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


def pages(orders: dict[str, Order]) -> Iterator[str]:
    yield from (reverse(f"orders:{name}") for name in ("queue", "orders", "mentions", "me", "reasons", "team", "bulks"))
    for order in orders.values():
        yield from (reverse(f"orders:{name}", args=[order.pk]) for name in ("order", "print"))
    for model in (Order, OrderLine, Review, InfoRequest, Note, Mail, RejectReason, SavedView, Product, Payment):
        yield reverse(f"admin:orders_{model._meta.model_name}_changelist")
    for order in orders.values():
        yield reverse("admin:orders_order_change", args=[order.pk])


def test_it_is_text_on_every_page(orders: dict[str, Order], people: dict[str, User]) -> None:
    browser = at(people["erin"])

    looks = {page: Looks(browser.get(page).content.decode()) for page in pages(orders)}

    assert {page: look.found for page, look in looks.items() if look.found} == {}
    assert sum(look.is_shown for look in looks.values()) > 2 * len(orders), "it is shown at all"


def test_what_was_searched_for_is_text_too(orders: dict[str, Order], people: dict[str, User]) -> None:
    browser = at(people["alice"])

    found = [
        look.found
        for text in HOSTILE.values()
        for page in ("/", "/orders/")
        if (look := Looks(browser.get(page, {"q": text, "customer": text, "sort": text}).content.decode())).found
    ]

    assert found == []


def test_it_is_text_for_customers_and_their_mails(orders: dict[str, Order]) -> None:
    asked = InfoRequest.objects.latest("pk")
    page = Client().get(asking.link_to(asked).removeprefix("https://desk.example")).content.decode()

    assert Looks(page).found == []
    for mail in Mail.objects.all():
        assert MARK not in mail.subject + mail.recipient
        assert "\n" not in mail.subject + mail.recipient


def test_no_file_has_a_formula_and_each_is_read_as_it_was_written(
    orders: dict[str, Order], people: dict[str, User]
) -> None:
    browser = at(people["lead"])
    for what, order in orders.items():
        told = json.loads(browser.get(reverse("orders:audit_json", args=[order.pk])).content)
        text = browser.get(reverse("orders:audit_csv", args=[order.pk])).content.decode("utf-8-sig")

        assert HOSTILE[what] in json.dumps(told, ensure_ascii=False).replace('\\"', '"')
        assert [cell for row in csv.reader(io.StringIO(text)) for cell in row if cell.startswith(DANGEROUS)] == []


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_is_no_text_is_not_taken(text: str, place: PlaceOrder) -> None:
    with pytest.raises(InvalidOrder) as refusal:
        place(customer_name=text, reference=text, address=Address("DE", line1=text, city=text, postal_code="10969"))

    assert {"customer_name", "reference", "address.line1", "address.city"} <= refusal.value.errors.keys()
    assert not Order.objects.exists()


def test_a_note_takes_lines_and_nothing_that_turns_the_rest_around() -> None:
    assert wrong_with_note("one\r\n\ttwo\N{LINE SEPARATOR}three") == ""
    assert wrong_with_note("שלום \N{RIGHT-TO-LEFT MARK}Ann") == ""
    assert wrong_with_note(REFUSED["an override of the direction of writing"]) == "contains a control character"


def test_no_address_writes_a_line_of_the_log(client: Client, db: None, caplog: pytest.LogCaptureFixture) -> None:
    client.get("/nothing%0d%0a09:30:00 INFO orders: FORGED")
    client.post("/sign-in/", {"username": "x\r\nFORGED", "password": "FORGED"})

    lines = [line for record in caplog.records for line in LineFormatter().format(record).splitlines()]

    assert logging.getLogger("orders").isEnabledFor(logging.WARNING)
    assert lines
    assert [line for line in lines if line.startswith(("FORGED", "09:30"))] == []
