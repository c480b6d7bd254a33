"""What holds for the desk as a whole: sign-in, health, headers, what goes wrong, and how it says things."""

import json
import logging
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.template.loader import render_to_string
from django.test import Client
from pytest_django import Settings

from orders import timeline, wording
from orders.models import Event
from orders.states import Status

BASE = Path(__file__).resolve().parent.parent.parent


def test_signing_in_leads_to_what_was_asked_for(client: Client, alice: User) -> None:
    answer = client.post(
        "/sign-in/?next=/orders/", {"username": "alice", "password": "correct horse", "next": "/orders/"}
    )

    assert answer.headers["Location"] == "/orders/"


def test_signing_in_never_leads_elsewhere(client: Client, alice: User) -> None:
    form = {"username": "alice", "password": "correct horse", "next": "https://elsewhere.example/"}

    assert client.post("/sign-in/", form).headers["Location"] == "/"


def test_a_wrong_password_is_told_without_saying_which_was_wrong(client: Client, alice: User) -> None:
    for name in ("alice", "nobody"):
        page = client.post("/sign-in/", {"username": name, "password": "wrong"}).content.decode()
        assert "That name and password do not match." in page


def test_signing_out_ends_the_session(at_alices: Client) -> None:
    at_alices.post("/sign-out/")

    assert at_alices.get("/").status_code == 302


def test_the_way_to_the_records_is_shown_to_staff_alone(client: Client, at_alices: Client, admin_user: User) -> None:
    client.force_login(admin_user)

    assert '<a href="/admin/">Records</a>' in client.get("/").content.decode()
    assert 'href="/admin/"' not in at_alices.get("/").content.decode()


def test_who_may_not_see_the_records_is_told_so_by_the_desk(at_alices: Client) -> None:
    answer = at_alices.get("/admin/", follow=True)

    assert answer.status_code == 403
    assert "The raw records are for admins." in answer.content.decode()


def test_a_stranger_at_the_records_signs_in_at_the_desk(client: Client) -> None:
    answer = client.get("/admin/orders/event/", follow=True)

    assert answer.redirect_chain[-1] == ("/sign-in/?next=/admin/orders/event/", 302)


def test_staff_who_come_to_the_door_of_the_records_go_in(client: Client, admin_user: User) -> None:
    client.force_login(admin_user)

    assert client.get("/admin/login/").headers["Location"] == "/admin/"


def test_a_browser_that_asks_for_an_icon_by_its_old_name_gets_ours(client: Client) -> None:
    answer = client.get("/favicon.ico")

    assert answer.status_code == 302
    assert answer.headers["Location"] == "/static/favicon.svg"


def test_health_needs_no_sign_in_and_no_database(client: Client) -> None:
    answer = client.get("/healthz")

    assert answer.status_code == 200
    assert answer.content == b"ok\n"


@pytest.mark.parametrize("path", ["/", "/orders/", "/sign-in/", "/nothing-here/"])
def test_every_page_has_its_guards(at_alices: Client, path: str) -> None:
    headers = at_alices.get(path).headers

    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in headers["Cache-Control"]


@pytest.mark.parametrize("debug", [True, False])
def test_what_is_not_there_gets_our_page(at_alices: Client, settings: Settings, *, debug: bool) -> None:
    settings.DEBUG = debug

    answer = at_alices.get("/nothing-here/")

    assert answer.status_code == 404
    assert "There is nothing here" in answer.content.decode()


def test_a_missing_slash_is_mended(at_alices: Client, settings: Settings) -> None:
    settings.DEBUG = True

    assert at_alices.get("/orders").headers["Location"] == "/orders/"


def test_when_it_breaks_our_page_says_so_without_the_database(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("orders.selectors.queue_page", lambda **_: 1 / 0)
    client = Client(raise_request_exception=False)
    client.force_login(alice)

    with caplog.at_level(logging.CRITICAL, logger="django.request"):
        answer = client.get("/")

    assert answer.status_code == 500
    assert "Something broke on our side" in answer.content.decode()


@pytest.mark.parametrize("template", ["500.html", "503.html", "403_csrf.html"])
def test_the_pages_of_last_resort_need_nothing(template: str) -> None:
    assert "Countersign" in render_to_string(template)


def test_no_template_has_inline_script_or_style() -> None:
    for path in (BASE / "templates").rglob("*.html"):
        source = path.read_text()
        assert "style=" not in source, path
        assert "<style" not in source, path
        assert "<script>" not in source, path
        assert " on" + "click=" not in source, path


def test_htmx_evaluates_nothing_and_swaps_what_is_refused() -> None:
    base = (BASE / "templates" / "base.html").read_text()
    config = json.loads(base.split('name="htmx-config" content=\'')[1].split("'")[0])

    assert config["allowEval"] is False
    assert config["includeIndicatorStyles"] is False
    assert config["historyCacheSize"] == 0
    assert {"code": "403|409|422", "swap": True, "error": False} in config["responseHandling"]


def test_every_status_has_words_a_tone_and_a_place_on_the_way() -> None:
    for status in Status:
        assert wording.STATUS_WORDS[status]
        assert wording.tone(status)
        steps = wording.steps(status, left_from=Status.RESERVED, reviewed=True)
        assert [step.name for step in steps] == list(wording.STEPS)
        if status != Status.COMPLETED:
            assert sum(step.state in {"live", "held", "stopped"} for step in steps) == 1


def test_a_review_that_nobody_needed_is_not_shown_as_done() -> None:
    steps = wording.steps(Status.COMPLETED, left_from=None, reviewed=False)

    assert [step.state for step in steps if step.name == "Review"] == ["skipped"]


def test_an_order_that_the_rules_blocked_stopped_at_them() -> None:
    steps = wording.steps(Status.BLOCKED, left_from=Status.VALIDATED, reviewed=False)

    assert [step.name for step in steps if step.state == "stopped"] == ["Review"]
    assert [step.name for step in steps if step.state == "done"] == ["Received", "Checked"]


@pytest.mark.parametrize(
    ("status", "refunded", "said"),
    [
        (Status.CANCELLED, "€696.70", "€696.70 was refunded."),
        (Status.CANCELLED, "", "Nothing was charged or sent."),
        (Status.BLOCKED, "", "Nothing was charged or sent."),
        (Status.CANCELLING, "", "What was done is being undone, step by step."),
    ],
)
def test_what_became_of_the_money_is_told(status: Status, refunded: str, said: str) -> None:
    assert wording.doing(status, refunded=refunded) == said


@pytest.mark.parametrize(
    ("text", "said"), [("Out of stock", "Out of stock."), ("Cancelled.", "Cancelled."), ("Why?", "Why?"), ("", "")]
)
def test_an_outcome_ends_before_the_next_sentence_begins(text: str, said: str) -> None:
    assert wording.sentence(text) == said


def test_an_order_that_failed_stopped_where_it_left_the_road() -> None:
    events = [Event(payload={"from": "compensating", "to": "failed"}), Event(payload={"from": "reserved"})]

    left_from = timeline.left_main_road_from(events)

    steps = wording.steps(Status.FAILED, left_from=left_from, reviewed=True)
    assert [step.name for step in steps if step.state == "stopped"] == ["Payment"]


@pytest.mark.parametrize(
    ("seconds", "countdown", "urgency"),
    [
        (90_000, "1 d 1 h", "calm"),
        (3_600, "1 h 00 min", "calm"),
        (3_599, "59:59 min", "soon"),
        (61, "1:01 min", "soon"),
        (1, "0:01 min", "soon"),
        (0, "0 s overdue", "overdue"),
        (-90, "1 min overdue", "overdue"),
        (-7_300, "2 h 01 min overdue", "overdue"),
    ],
)
def test_a_deadline_is_counted_down_in_words(seconds: int, countdown: str, urgency: str) -> None:
    left = timedelta(seconds=seconds)

    assert wording.countdown(left) == countdown
    assert wording.urgency(left) == urgency


@pytest.mark.parametrize(
    ("seconds", "said"), [(-3, "just now"), (4, "just now"), (59, "59 s ago"), (60, "1 min ago"), (90_000, "1 d ago")]
)
def test_how_long_ago_is_told_in_its_largest_unit(seconds: int, said: str) -> None:
    assert wording.ago(timedelta(seconds=seconds)) == said


def test_no_text_of_the_desk_is_jargon() -> None:
    shown = subprocess.run(
        ["git", "grep", "-ihE", r"\b(workflow|activity|outbox|heartbeat|saga)\b", "--", "templates/*.html"],
        cwd=BASE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.stdout == ""
