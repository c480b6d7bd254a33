"""When a session ends: left alone, at the end of the day, and with its password."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orders import live
from orders_site.sessions import SessionStore

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def browser(alice: User) -> Client:
    browser = Client()
    browser.post("/sign-in/", {"username": "alice", "password": "correct horse"})
    return browser


def let_pass(time: timedelta) -> None:
    """As if the sessions had been written so long ago."""
    for row in Session.objects.all():
        told = row.get_decoded()
        told["signed_in_at"] -= int(time.total_seconds())
        row.session_data = SessionStore().encode(told)
        row.expire_date -= time
        row.save()


def is_signed_in(browser: Client, path: str = "/roles/") -> bool:
    return browser.get(path).status_code == 200


def left() -> timedelta:
    return Session.objects.get().expire_date - timezone.now()


def test_it_ends_when_nobody_acts(browser: Client) -> None:
    let_pass(2 * HOUR - MINUTE)
    assert is_signed_in(browser)
    let_pass(2 * HOUR - MINUTE)
    assert is_signed_in(browser)

    let_pass(2 * HOUR + MINUTE)

    assert not is_signed_in(browser)


def test_an_open_page_does_not_keep_it_from_ending(browser: Client) -> None:
    let_pass(HOUR)

    for path in ("/live/desk/", "/live/queue/", "/live/orders/", "/live/views/"):
        assert is_signed_in(browser, path)
    assert browser.get("/me/", headers={"HX-Request": "true"}).status_code == 200

    assert left() < HOUR
    let_pass(HOUR + MINUTE)
    assert not is_signed_in(browser, "/live/desk/")


def test_it_lasts_a_day_of_work_at_most(browser: Client) -> None:
    for _ in range(7):
        let_pass(1.6 * HOUR)
        assert is_signed_in(browser)

    assert timedelta(0) < left() < HOUR
    let_pass(HOUR)
    assert not is_signed_in(browser)


def test_it_is_written_once_a_minute_at_most(browser: Client) -> None:
    def writes() -> int:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert is_signed_in(browser)
        return sum("UPDATE" in query["sql"] and "django_session" in query["sql"] for query in asked)

    found = [writes(), writes()]
    let_pass(2 * MINUTE)

    assert [*found, writes(), writes()] == [0, 0, 1, 0]


def test_its_key_is_another_after_the_sign_in_and_no_script_reads_it(alice: User) -> None:
    browser = Client()
    browser.get("/sign-in/")
    before = browser.session.session_key

    browser.post("/sign-in/", {"username": "alice", "password": "correct horse"})

    cookies = browser.cookies
    assert cookies["session"].value not in (before, "")
    assert (cookies["session"]["httponly"], cookies["session"]["samesite"]) == (True, "Lax")
    assert cookies["csrf"]["httponly"] is True


def test_a_new_password_ends_it_everywhere_and_its_streams_too(browser: Client, alice: User) -> None:
    other = Client()
    other.force_login(alice)
    shown = (other.session.session_key, alice.pk, live.Viewer.of(alice))
    assert live.is_welcome(*shown)

    alice.set_password("battery staple")
    alice.save()

    assert not is_signed_in(browser)
    assert not live.is_welcome(*shown)
