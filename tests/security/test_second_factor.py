"""The second factor of leads and admins: set up, shown, guessed, lost, reset; and that nothing opens without it."""

import re
from base64 import b32decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client
from pytest_django import Settings

from orders import live
from orders.models import AccountEvent, SecondFactor
from orders.services import second_factor
from orders.services.actors import Actor, NotPermitted
from orders.services.second_factor import ResetRefused, WrongCode
from tests.security.test_matrix import DESK_LINES, desk_addresses, outcome, record_addresses

AT = datetime(2026, 11, 21, 9, 0, 15, tzinfo=UTC)
SECRET = b"12345678901234567890"  # of RFC 6238, appendix B
HALF_A_MINUTE = timedelta(seconds=30)
DOOR = "/sign-in/second-factor/"


@pytest.fixture(autouse=True)
def _asked(settings: Settings) -> None:
    settings.SECOND_FACTOR = True


@pytest.fixture
def erin(db: None) -> User:
    user = User.objects.create_user("erin", "erin@example.com", "correct horse", is_staff=True)
    user.groups.add(Group.objects.get(name="admin"))
    return user


def code(at: datetime, secret: bytes = SECRET) -> str:
    return TOTP(secret, 6, SHA1(), 30).generate(at.timestamp()).decode()  # noqa: S303


def set_up(user: User, at: datetime = AT) -> list[str]:
    return second_factor.set_up(user=user, secret=SECRET, code=code(at), at=at)[1]


def with_password(name: str, *, address: str = "192.0.2.1") -> Client:
    """A browser in which the password was right."""
    browser = Client(REMOTE_ADDR=address)
    answer = browser.post("/sign-in/", {"username": name, "password": "correct horse", "next": "/team/"})
    assert answer.headers["Location"] == DOOR, answer.content
    return browser


def signed_in(user: User) -> tuple[Client, list[str]]:
    """A browser that has gone the whole way, and the recovery codes."""
    browser = with_password(user.username)
    key = re.search(r'class="key">([A-Z2-7 ]+)<', browser.get(DOOR).content.decode())
    assert key
    page = browser.post(DOOR, {"code": code(datetime.now(UTC), b32decode(key[1].replace(" ", "")))})
    return browser, re.findall(r"<code>([a-z2-9-]{19})</code>", page.content.decode())


def is_refused(act: Callable[[], object]) -> bool:
    try:
        act()
    except WrongCode:
        return True
    return False


def test_the_codes_are_those_of_the_standard(lead: User) -> None:
    at = datetime.fromtimestamp(1111111111, UTC)

    factor, _ = second_factor.set_up(user=lead, secret=SECRET, code="050471", at=at)

    assert factor.last_step == 1111111111 // 30


def test_a_lead_sets_one_up_and_is_then_asked_for_its_code(lead: User) -> None:
    browser = with_password("dana")
    page = browser.get(DOOR).content.decode()
    assert re.search(r'<svg class="qr" viewBox="0 0 \d+ \d+".*<path d="M4 4h1v1h-1z', page)
    assert browser.post(DOOR, {"code": "000000"}).status_code == 422
    assert browser.get("/team/").headers["Location"].startswith("/sign-in/")

    browser, codes = signed_in(lead)

    assert browser.get("/team/").status_code == 200
    assert len(set(codes)) == 8
    assert browser.get(DOOR).headers["Location"] == "/sign-in/", "the codes are shown once"
    asked = with_password("dana").get(DOOR).content.decode()
    assert 'class="qr"' not in asked
    assert "six digits" in asked


def test_who_only_decides_or_looks_is_not_asked(alice: User, viewer: User, lead: User, erin: User) -> None:
    asked = {user.username for user in (alice, viewer, lead, erin) if second_factor.is_asked_of(user)}

    assert asked == {"dana", "erin"}
    answer = Client().post("/sign-in/", {"username": "alice", "password": "correct horse"})
    assert answer.headers["Location"] == "/"


def test_a_code_is_taken_once_and_a_clock_may_be_half_a_minute_off(lead: User) -> None:
    set_up(lead)
    later = AT + 4 * HALF_A_MINUTE

    for off in (-60, 60):
        given = code(later + timedelta(seconds=off))
        assert is_refused(partial(second_factor.check, user=lead, code=given, at=later))
    second_factor.check(user=lead, code=code(later - HALF_A_MINUTE), at=later)
    second_factor.check(user=lead, code=f" {code(later)[:3]} {code(later)[3:]}", at=later)

    assert is_refused(lambda: second_factor.check(user=lead, code=code(later), at=later))
    assert is_refused(lambda: second_factor.check(user=lead, code=code(later - HALF_A_MINUTE), at=later))
    assert is_refused(lambda: second_factor.check(user=lead, code="", at=later))


def test_a_recovery_code_signs_in_once_and_says_so_for_ever(lead: User) -> None:
    first, second, *_ = set_up(lead)

    assert with_password("dana").post(DOOR, {"code": first.upper()}).headers["Location"] == "/team/"

    assert with_password("dana").post(DOOR, {"code": first}).status_code == 422
    assert is_refused(lambda: second_factor.check(user=lead, code=second[:-1], at=AT))
    assert [event.type for event in AccountEvent.objects.all()] == ["recovered", "set_up"]


def test_codes_are_guessed_no_more_often_than_passwords_from_wherever(lead: User) -> None:
    set_up(lead)
    for number in range(5):
        assert with_password("dana", address=f"192.0.2.{number}").post(DOOR, {"code": "000000"}).status_code == 422

    right = with_password("dana", address="198.51.100.7").post(DOOR, {"code": code(datetime.now(UTC))})

    assert right.status_code == 429
    assert 0 < int(right.headers["Retry-After"]) <= 900
    assert "Try again in 15 minutes" in right.content.decode()


def test_nothing_of_it_can_be_read_in_the_database(lead: User, settings: Settings) -> None:
    codes = set_up(lead)

    stored = SecondFactor.objects.get()
    assert SECRET not in bytes(stored.secret)
    assert not any(each in str(stored.recovery_hashes) for each in codes)
    browser = with_password("dana")
    assert browser.session["about_to_sign_in"]["secret"]

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new key " * 6, [settings.SECRET_KEY]
    second_factor.check(user=lead, code=code(AT + HALF_A_MINUTE), at=AT + HALF_A_MINUTE)
    settings.SECRET_KEY_FALLBACKS = []
    later = AT + 2 * HALF_A_MINUTE
    second_factor.check(user=lead, code=code(later), at=later)
    settings.SECRET_KEY = "lost " * 12
    assert is_refused(lambda: second_factor.check(user=lead, code=code(later + HALF_A_MINUTE), at=later))
    second_factor.check(user=lead, code=codes[0], at=later)


def test_a_sign_in_that_was_begun_ends_with_the_password_and_in_time(lead: User) -> None:
    set_up(lead)
    late, changed = with_password("dana"), with_password("dana")
    session = late.session
    session["about_to_sign_in"] |= {"at": int(datetime.now(UTC).timestamp()) - 601}
    session.save()
    assert late.post(DOOR, {"code": code(datetime.now(UTC))}).headers["Location"] == "/sign-in/"

    lead.set_password("battery staple")
    lead.save()

    assert changed.post(DOOR, {"code": code(datetime.now(UTC))}).headers["Location"] == "/sign-in/"


def test_no_address_opens_to_an_admin_who_has_not_shown_it(erin: User) -> None:
    browser = Client(raise_request_exception=False)
    anything = {"order_id": UUID(int=7), "bulk_id": UUID(int=7), "view_id": 7, "token": "7"}
    lines = {line.address for line in DESK_LINES if line.cells["nobody"] in ("in", "401")}
    guarded = lines - {"metrics", "records_door", "second_factor"}
    desk = [url.format(**anything) for name, url in desk_addresses().items() if name in guarded]

    browser.force_login(erin)

    def found(url: str) -> str:
        return outcome(browser, "GET", url)  # which is undone, so that the session is there for the next

    assert len(desk) > 45
    assert {found(url) for url in desk} == {"in", "401"}
    assert {found(url) for url in record_addresses()[:12]} <= {"in", "to"}, "sent to the records' door"


def test_who_becomes_a_lead_has_to_show_it_at_once(alice: User) -> None:
    browser = Client()
    browser.force_login(alice)
    assert browser.get("/").status_code == 200

    alice.groups.set([Group.objects.get(name="lead")])

    assert browser.get("/").headers["Location"].startswith("/sign-in/")


def test_an_admin_resets_it_which_ends_the_sessions_and_stays_on_record(lead: User, erin: User) -> None:
    leads, _ = signed_in(lead)
    admins, _ = signed_in(erin)
    session = leads.session.session_key
    viewer = live.Viewer.of(User.objects.get(pk=lead.pk))
    assert live.is_welcome(session, lead.pk, viewer)

    assert admins.post("/second-factors/", {"who": "dana", "reason": " "}).status_code == 422
    assert admins.post("/second-factors/", {"who": "dana", "reason": "Lost the <b>phone"}).status_code == 302

    assert leads.get("/").headers["Location"].startswith("/sign-in/")
    assert not live.is_welcome(session, lead.pk, viewer)
    assert 'class="qr"' in with_password("dana").get(DOOR).content.decode()
    page = admins.get("/second-factors/").content.decode()
    assert "dana, second factor reset by erin: “Lost the &lt;b&gt;phone”" in page
    event = AccountEvent.objects.get(type="reset")
    for change in (event.delete, lambda: AccountEvent.objects.update(reason="Another")):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            change()


def test_nobody_resets_their_own_without_a_recovery_code(erin: User) -> None:
    browser, codes = signed_in(erin)
    assert browser.post("/second-factors/", {"who": "erin", "reason": "I may"}).status_code == 422
    assert browser.post("/me/second-factor/", {"code": "0000-0000"}).status_code == 422
    assert SecondFactor.objects.get(user=erin)

    answer = browser.post("/me/second-factor/", {"code": codes[3]})

    assert answer.headers["Location"] == "/me/"
    assert browser.get("/me/").headers["Location"].startswith("/sign-in/")
    assert AccountEvent.objects.filter(account=erin, type="reset", actor="erin").exists()
    assert 'class="qr"' in with_password("erin").get(DOOR).content.decode()


def test_who_may_reset_and_whose(lead: User, erin: User, alice: User) -> None:
    root = User.objects.create_superuser("root", password="correct horse")
    for user in (lead, root):
        set_up(user)
    refused = [(alice, lead), (lead, lead), (lead, root), (erin, root)]

    for actor, user in refused:
        with pytest.raises((NotPermitted, ResetRefused)):
            second_factor.reset(user=user, reason="Lost", actor=Actor.operator(actor), at=AT)
    with pytest.raises(ResetRefused, match="has no second factor"):
        second_factor.reset(user=erin, reason="Lost", actor=Actor.operator(root), at=AT)
    assert SecondFactor.objects.count() == 2

    second_factor.reset(user=lead, reason="Lost", actor=Actor.operator(erin), at=AT)


def test_the_last_admin_is_helped_at_the_command_line_with_a_trace(erin: User) -> None:
    set_up(erin)

    for name, reason, wrong in (("nobody", "x", "no user"), ("erin", "", "Say why"), ("erin", "a" * 201, "longer")):
        with pytest.raises(CommandError, match=wrong):
            call_command("reset_second_factor", name, reason=reason)
    call_command("reset_second_factor", "erin", reason="Lost the phone", stdout=StringIO())

    event = AccountEvent.objects.get(type="reset")
    assert event.actor.endswith(" at the command line")
    assert (event.user, event.reason, SecondFactor.objects.count()) == (None, "Lost the phone", 0)
