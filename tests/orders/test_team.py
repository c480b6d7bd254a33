"""GET /team/: what waits, and what was decided by whom, how quickly and how much of it in time; for leads."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orders import charts, conventions, figures, people
from orders.conventions import Conventions
from orders.figures import Tally
from orders.models import Order, Review
from orders.services import preferring, reviewing
from orders.services.actors import Actor
from tests.conftest import PlaceOrder
from tests.orders.conftest import SignedIn

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOURS = [NOON + timedelta(hours=n) for n in range(-12, 12)]


@pytest.fixture
def opened(place: PlaceOrder) -> PlaceOrder:
    """Place an order that was put to review so many hours before noon, with a day to decide."""

    def opened(*, hours: float = 1) -> Order:
        order, at = place(), NOON - timedelta(hours=hours)
        reviewing.receive_order(order_id=order.pk, at=at)
        reviewing.validate_order(order_id=order.pk, at=at)
        return order

    return opened


@pytest.fixture
def at_danas(lead: User, signed_in: SignedIn) -> Client:
    return signed_in(lead)


def approve(order: Order, actor: Actor, at: datetime = NOON) -> None:
    reviewing.approve(order_id=order.pk, actor=actor, at=at)


def test_it_counts_by_person_and_hour(opened: PlaceOrder, as_alice: Actor, as_bob: Actor) -> None:
    approve(opened(), as_alice)
    approve(opened(), as_alice, NOON + timedelta(hours=2, minutes=59))
    reviewing.reject(order_id=opened().pk, actor=as_bob, at=NOON, reason="Odd.")

    found = figures.figures(HOURS)

    assert [(person.name, person.all) for person in found.people] == [("alice", Tally(2)), ("bob", Tally(0, 1))]
    assert {slot: tally for slot, tally in zip(HOURS, found.tallies, strict=True) if tally.total} == {
        NOON: Tally(1, 1),
        NOON + timedelta(hours=2): Tally(1),
    }
    assert found.all == Tally(2, 1)


def test_it_tells_how_long_half_of_them_took(opened: PlaceOrder, as_alice: Actor, as_bob: Actor) -> None:
    for hours in (1, 3, 20):
        approve(opened(hours=hours), as_alice)
    approve(opened(hours=5), as_bob)

    found = figures.figures(HOURS)

    assert found.timing.median == timedelta(hours=4)
    assert [person.timing.median for person in found.people] == [timedelta(hours=3), timedelta(hours=5)]


def test_in_time_is_what_was_decided_before_the_deadline_by_who_was_asked_first(
    opened: PlaceOrder, as_alice: Actor, lead: User
) -> None:
    in_time, escalated, expired = opened(), opened(), opened(hours=36)
    approve(in_time, as_alice)
    escalated.reviews.update(level=Review.Level.LEAD)
    approve(escalated, Actor.operator(lead))
    reviewing.settle_review(order_id=expired.pk, at=NOON)

    timing = figures.figures(HOURS).timing

    assert (timing.in_time, timing.late, timing.expired, timing.of) == (1, 1, 1, 3)
    assert figures.Timing(None, 999, 1_000).share == 0.999


def test_what_the_customer_or_nobody_ended_is_no_decision_of_the_team(opened: PlaceOrder, as_alice: Actor) -> None:
    opened().reviews.update(decision="cancelled", decided_at=NOON)
    opened().reviews.update(decision="settled", decided_at=NOON)
    opened()

    found = figures.figures(HOURS)

    assert found.all == Tally()
    assert found.people == []
    assert found.timing == figures.Timing()


def test_where_there_is_more_than_is_counted_it_says_how_far_back_it_reaches(
    at_danas: Client, opened: PlaceOrder, as_alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "DECISIONS", 2)
    now = timezone.now()
    for seconds in (3, 2, 1):
        approve(opened(), as_alice, now - timedelta(seconds=seconds))

    assert "these are the newest 2 decisions, back to" in at_danas.get("/team/?days=7").content.decode()
    monkeypatch.setattr(figures, "DECISIONS", 4)
    assert "these are the newest" not in at_danas.get("/team/?days=7").content.decode()


def test_where_more_people_decided_than_are_listed_it_says_so(
    at_danas: Client, opened: PlaceOrder, as_alice: Actor, as_bob: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for actor in (as_alice, as_alice, as_bob):
        approve(opened(), actor, timezone.now())

    assert "not listed" not in at_danas.get("/team/").content.decode()
    monkeypatch.setattr(figures, "PEOPLE", 1)

    page = at_danas.get("/team/").content.decode()
    assert "1 more who decided less is not listed." in page
    assert '<th scope="row">bob</th>' not in page


def test_it_counts_what_waits_and_what_is_overdue(opened: PlaceOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    for hours in (30, 23.5, 23.9, 1):  # a day to decide
        opened(hours=hours)

    told = figures.waiting(at=NOON)

    assert (str(told.all), str(told.overdue), str(told.soon)) == ("4", "1", "2")
    monkeypatch.setattr(figures, "COUNT_UP_TO", 2)
    assert [str(each) for each in (figures.waiting(at=NOON).overdue, figures.waiting(at=NOON).soon)] == ["1", "2+"]
    late = figures.waiting(at=NOON + timedelta(days=2))
    assert [str(late.overdue), str(late.soon)] == ["2+", "0"]


def test_its_hours_are_those_of_who_looks(
    at_danas: Client, lead: User, opened: PlaceOrder, as_alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    preferring.prefer(user=lead, zone="Asia/Kolkata", locale="en")  # five hours and a half ahead
    approve(opened(), as_alice)
    monkeypatch.setattr(timezone, "now", lambda: NOON + timedelta(hours=1))

    page = at_danas.get("/team/").content.decode()

    assert "<title>17:00: 1 approved, 0 rejected, 0 others</title>" in page
    assert "The busiest: 17:00, with 1." in page
    assert '<tr><th scope="row">17:00</th><td class="c-amount">1</td>' in page


@pytest.mark.parametrize(("day", "hours"), [(datetime(2026, 3, 29, 12, tzinfo=UTC), 23), (NOON, 24)])
def test_a_day_has_as_many_hours_as_it_has(day: datetime, hours: int) -> None:
    with conventions.by(Conventions("Europe/Berlin", "en")):
        slots = people._slots(day, 1)

        assert len(slots) == hours
        assert len({slot.at for slot in slots}) == hours
        assert slots[0].told == "00:00"
        assert slots[-1].told == "23:00"
        assert len(people._slots(day, 30)) == 30


@pytest.mark.parametrize(("days", "unit"), [("1", "hour"), ("7", "day"), ("30", "day"), ("x", "hour"), ("99", "hour")])
def test_each_span_of_time_has_its_page_and_anything_else_is_today(
    at_danas: Client, opened: PlaceOrder, as_alice: Actor, days: str, unit: str
) -> None:
    approve(opened(), as_alice, timezone.now())

    answer = at_danas.get("/team/", {"days": days})

    assert answer.status_code == 200
    assert f"Decided each {unit}" in answer.content.decode()


def test_every_chart_has_its_figures_in_words_and_no_style_of_its_own(
    at_danas: Client, opened: PlaceOrder, as_alice: Actor
) -> None:
    approve(opened(), as_alice, timezone.now())

    page = at_danas.get("/team/").content.decode()

    for svg in re.findall(r"<svg.*?>", page):
        assert 'role="img" aria-label="' in svg or 'aria-hidden="true"' in svg
    assert " style=" not in page
    assert "0 in time, 1 late, 0 expired" in page
    assert "The same as a table" in page


def test_before_the_first_decision_it_says_what_will_be_here(at_danas: Client) -> None:
    assert "Nobody has decided yet today" in at_danas.get("/team/").content.decode()


@pytest.mark.parametrize("name", ["viewer", "alice"])
def test_it_is_for_leads(name: str, request: pytest.FixtureRequest, signed_in: SignedIn) -> None:
    client = signed_in(request.getfixturevalue(name))

    answer = client.get("/team/")

    assert answer.status_code == 403
    assert "How the team is doing is for leads." in answer.content.decode()
    assert 'href="/team/"' not in client.get("/").content.decode()


def test_leads_find_it_in_the_navigation_and_strangers_sign_in_first(at_danas: Client, client: Client) -> None:
    assert 'href="/team/"' in at_danas.get("/").content.decode()
    assert client.get("/team/").status_code == 302


def test_it_asks_the_database_as_often_for_many_as_for_one(
    at_danas: Client, opened: PlaceOrder, as_alice: Actor, as_bob: Actor
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as context:
            at_danas.get("/team/?days=30")
        return len(context)

    approve(opened(), as_alice, timezone.now())
    few = queries()
    for actor in (as_alice, as_bob) * 3:
        approve(opened(), actor, timezone.now())

    assert queries() == few <= 16


def test_decisions_are_read_from_their_index_alone(opened: PlaceOrder, as_alice: Actor) -> None:
    approve(opened(), as_alice)

    with CaptureQueriesContext(connection) as asked:
        figures.figures(HOURS)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {asked[0]['sql']}")
        plan = "\n".join(row[0] for row in cursor.fetchall())

    assert "Index Only Scan Backward using review_decided" in plan


def test_bars_stand_on_the_ground_and_fit_under_the_top() -> None:
    chart = charts.stacked([("a", [("good", 5), ("bad", 0), ("others", 2)]), ("b", [("good", 1)])])

    first, second = chart.bars
    assert chart.top == 10
    assert [(part.kind, part.y, part.height) for part in first.parts] == [("good", 60, 60), ("others", 36, 24)]
    assert [(part.y, part.height) for part in second.parts] == [(108, 12)]
    assert second.x - first.x == charts.STEP


def test_the_pieces_of_a_line_are_shares_of_it() -> None:
    assert [(piece.kind, piece.x, piece.width) for piece in charts.line([("good", 3), ("late", 0), ("bad", 1)])] == [
        ("good", 0, 75),
        ("bad", 75, 25),
    ]
    assert charts.line([("good", 0)]) == []
    assert charts.stacked([]).bars == []
