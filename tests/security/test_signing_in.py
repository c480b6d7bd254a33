"""Guessing passwords: how it is held up, and whom that leaves alone."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from pytest_django import Settings

from orders.models import SignInTry
from orders.services import signing_in
from orders.services.signing_in import TooManyTries
from orders.signing_in import client_address
from orders_site.env import env_networks

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
WITHIN = timedelta(minutes=15)
HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


def sign_in(name: str, password: str, *, address: str = HOME, **sent: str) -> object:
    return Client(REMOTE_ADDR=address).post("/sign-in/", {"username": name, "password": password, **sent})


def status(name: str, password: str, *, address: str = HOME) -> int:
    return sign_in(name, password, address=address).status_code  # type: ignore[attr-defined,no-any-return]


def fail(times: int, *, name: str = "alice", address: str = HOME, at: datetime = NOW) -> None:
    for _ in range(times):
        signing_in.begin(name=name, address=address, at=at)


def is_refused(*, name: str = "alice", address: str = HOME, at: datetime = NOW) -> bool:
    try:
        signing_in.begin(name=name, address=address, at=at)
    except TooManyTries:
        return True
    return False


def test_after_five_failed_tries_the_right_password_has_to_wait_too(
    alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        assert status("alice", f"wrong-{number}") == 200

    answer = sign_in("alice", "correct horse", next="/team/")

    page = answer.content.decode()  # type: ignore[attr-defined]
    assert answer.status_code == 429  # type: ignore[attr-defined]
    assert "Try again in 15 minutes" in page
    assert 'value="alice"' in page
    assert 'name="next" value="/team/"' in page
    assert 890 < int(answer.headers["Retry-After"]) <= 900  # type: ignore[attr-defined]
    told = [record.getMessage() for record in caplog.records if record.name == "orders.signing_in"]
    assert told == [f"Sign-in refused as alice from {HOME}"] * 5 + [f"Too many tries to sign in as alice from {HOME}"]


def test_nobody_else_and_nowhere_else_is_kept_out_by_them(alice: User, bob: User) -> None:
    for _ in range(6):
        status("alice", "wrong")

    assert status("alice", "correct horse", address=ELSEWHERE) == 302
    assert status("bob", "correct horse") == 302


def test_who_gets_in_begins_anew(alice: User) -> None:
    for _ in range(3):
        for _ in range(4):
            assert status("alice", "wrong") == 200
        assert status("alice", "correct horse") == 302

    assert not SignInTry.objects.exists()


def test_an_address_has_fewer_tries_than_names(db: None, alice: User, settings: Settings) -> None:
    settings.SIGN_IN_TRIES_OF_ADDRESS, now = 6, datetime.now(UTC)
    for number in range(5):
        fail(1, name=f"name-{number}", at=now)
    assert status("alice", "correct horse") == 302, "who has a password of their own"

    fail(1, name="another", at=now)

    assert is_refused(name="one more", at=now)
    assert not is_refused(name="one more", address=ELSEWHERE, at=now)


def test_it_goes_on_when_the_first_of_them_counts_no_longer(db: None) -> None:
    fail(1)
    fail(4, at=NOW + timedelta(minutes=5))

    with pytest.raises(TooManyTries) as refusal:
        signing_in.begin(name="alice", address=HOME, at=NOW + timedelta(minutes=6))

    assert refusal.value.again_at == NOW + WITHIN
    assert is_refused(at=NOW + WITHIN - timedelta(seconds=1))
    assert not is_refused(at=NOW + WITHIN)
    assert SignInTry.objects.count() == 5, "the first is forgotten"


def test_half_of_a_long_address_is_one_address(db: None) -> None:
    fail(5, address="2001:db8::1")

    assert is_refused(address="2001:db8::ffff:2")
    assert not is_refused(address="2001:db8:0:1::1")
    fail(5, address=f"::ffff:{HOME}")
    assert is_refused(address=HOME)


def test_a_password_typed_as_the_name_is_kept_nowhere(db: None, caplog: pytest.LogCaptureFixture) -> None:
    status("correct horse battery", "alice")
    status("a\x00b", "alice")

    assert "correct horse" not in caplog.text + str(list(SignInTry.objects.values()))
    assert f"Sign-in refused as nobody that there is from {HOME}" in caplog.text


@pytest.mark.parametrize(
    ("peer", "told", "found"),
    [
        (HOME, "", HOME),
        (HOME, ELSEWHERE, HOME),
        ("127.0.0.1", ELSEWHERE, ELSEWHERE),
        ("127.0.0.1", f"{HOME}, {ELSEWHERE}", ELSEWHERE),
        ("127.0.0.1", f"{HOME}, {ELSEWHERE}, 10.0.0.9", ELSEWHERE),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("", ELSEWHERE, ELSEWHERE),
        ("", "", "127.0.0.1"),
    ],
)
def test_only_proxies_that_are_believed_say_where_somebody_is(
    peer: str, told: str, found: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROXIES", "127.0.0.1, 10.0.0.0/8")
    settings.TRUSTED_PROXIES = env_networks("PROXIES", "")
    headers = {"X-Forwarded-For": told} if told else {}

    assert client_address(RequestFactory(headers=headers, REMOTE_ADDR=peer).post("/sign-in/")) == found
