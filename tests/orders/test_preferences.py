"""In which zone and locale each is shown things: kept, obeyed on every page, and nobody else's matter."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from orders import conventions, money
from orders.conventions import Conventions
from orders.models import Mail, Order, Preferences
from orders.services import preferring, reviewing
from orders.services.actors import Actor
from tests.orders.conftest import SignedIn


def prefer(client: Client, **fields: str) -> object:
    return client.post("/me/preferences/", fields)


def test_times_and_amounts_follow_who_looks(
    alice: User, bob: User, signed_in: SignedIn, order_in_review: Order
) -> None:
    Order.objects.update(placed_at=datetime(2026, 7, 1, 22, 30, tzinfo=UTC))
    preferring.prefer(user=alice, zone="Europe/Berlin", locale="de_DE")

    for_alice = signed_in(alice).get("/orders/").content.decode()
    for_bob = signed_in(bob).get("/orders/").content.decode()

    assert 'title="2 Jul 2026, 00:30:00 CEST (1 Jul, 22:30:00 UTC)"' in for_alice
    assert "1.200,00\N{NO-BREAK SPACE}€" in for_alice
    assert 'data-zone="Europe/Berlin"' in for_alice
    assert 'title="1 Jul 2026, 22:30:00 UTC"' in for_bob
    assert "€1,200.00" in for_bob


def test_what_a_page_asks_for_later_is_told_as_the_page_was(
    alice: User, as_bob: Actor, signed_in: SignedIn, order_in_review: Order
) -> None:
    preferring.prefer(user=alice, zone="Asia/Kolkata", locale="en_IN")
    at = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)
    reviewing.approve(order_id=order_in_review.pk, actor=as_bob, at=at)

    told = signed_in(alice).get("/live/queue/", {"shown": f"{order_in_review.pk}.1"}).json()

    assert "Approved by bob at\N{NO-BREAK SPACE}2 Jul, 04:00" in told["fragments"][0]


def test_one_viewers_zone_is_not_left_to_the_next(alice: User, signed_in: SignedIn, client: Client) -> None:
    preferring.prefer(user=alice, zone="Pacific/Auckland", locale="de_DE")

    signed_in(alice).get("/")
    client.get("/sign-in/")

    assert conventions.in_force() == Conventions("UTC", "en")
    assert timezone.get_current_timezone() == ZoneInfo("UTC")


def test_what_a_service_says_of_an_amount_is_written_for_who_asked() -> None:
    with conventions.by(Conventions("UTC", "de_DE")):
        assert conventions.amount(123_450, "EUR") == "1.234,50\N{NO-BREAK SPACE}€"

    assert conventions.amount(123_450, "EUR") == "€1,234.50"


def test_a_mail_is_written_by_the_desks_conventions_whoever_caused_it(
    order_in_review: Order, as_alice: Actor, settings: Settings
) -> None:
    settings.CUSTOMERS_GET_MAIL = True

    with conventions.by(Conventions("Pacific/Auckland", "de_DE")):
        reviewing.reject(order_id=order_in_review.pk, actor=as_alice, at=datetime.now(UTC), reason="Odd.")

    placed = order_in_review.placed_at.astimezone(UTC)
    assert f"{placed:%-d %B %Y}" in Mail.objects.get().body


def test_they_are_kept_and_can_be_changed(at_alices: Client) -> None:
    prefer(at_alices, zone="Europe/Berlin", locale="de_DE")
    prefer(at_alices, locale="fr_FR")

    page = at_alices.get("/me/").content.decode()

    kept = Preferences.objects.get()
    assert (kept.user.username, kept.zone, kept.locale) == ("alice", "Europe/Berlin", "fr_FR")
    assert "<option selected>Europe/Berlin</option>" in page
    assert '<option value="fr_FR" selected>French (France)</option>' in page


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"zone": "Europe/Atlantis", "locale": "en"}, "Choose a time zone from the list."),
        ({"zone": "../etc/passwd", "locale": "en"}, "Choose a time zone from the list."),
        ({"zone": "UTC", "locale": "xx_XX"}, "Choose a way of writing amounts from the list."),
        ({"zone": "UTC", "locale": ""}, "Choose a way of writing amounts from the list."),
    ],
)
def test_what_there_is_not_is_refused_by_name_and_nothing_kept(
    at_alices: Client, fields: dict[str, str], wrong: str
) -> None:
    answer = at_alices.post("/me/preferences/", fields)

    assert answer.status_code == 422
    assert wrong in answer.content.decode()
    assert not Preferences.objects.exists()


def test_a_zone_that_is_no_more_falls_back_to_the_desks(alice: User, signed_in: SignedIn) -> None:
    Preferences.objects.create(user=alice, zone="Europe/Atlantis", locale="de_DE")

    assert signed_in(alice).get("/me/").status_code == 200


def test_after_saving_one_is_back_where_one_was_but_on_this_desk_only(at_alices: Client) -> None:
    back = at_alices.post("/me/preferences/", {"zone": "UTC", "next": "/orders/"})
    away = at_alices.post("/me/preferences/", {"zone": "UTC", "next": "https://elsewhere.example/"})

    assert back.headers["Location"] == "/orders/"
    assert away.headers["Location"] == "/me/"


def test_it_has_to_be_sent_by_somebody_who_is_signed_in(client: Client, at_alices: Client) -> None:
    assert client.post("/me/preferences/", {"zone": "UTC"}).status_code == 302
    assert at_alices.get("/me/preferences/").status_code == 405
    assert not Preferences.objects.filter(zone="UTC").exists()


@pytest.mark.parametrize(
    ("locale", "minor", "currency", "shown"),
    [
        ("de_DE", 123_456, "EUR", "1.234,56\N{NO-BREAK SPACE}€"),
        ("de_DE", -950, "CHF", "-9,50\N{NO-BREAK SPACE}CHF"),
        ("fr_FR", 123_456, "USD", "1\N{NARROW NO-BREAK SPACE}234,56\N{NO-BREAK SPACE}$US"),
        ("en_IN", 12_345_678, "INR", "₹1,23,456.78"),
        ("ja_JP", 1_200, "JPY", "￥1,200"),
    ],
)
def test_an_amount_is_written_as_in_the_locale(locale: str, minor: int, currency: str, shown: str) -> None:
    assert money.format_money(minor, currency, locale=conventions.parsed(locale)) == shown


def test_the_computers_zone_is_offered_until_there_is_a_choice(at_alices: Client) -> None:
    before = at_alices.get("/orders/?q=ann").content.decode()
    prefer(at_alices, zone="UTC")
    after = at_alices.get("/orders/?q=ann").content.decode()

    assert '<form id="zone"' in before
    assert 'name="next" value="/orders/?q=ann"' in before
    assert '<form id="zone"' not in after
