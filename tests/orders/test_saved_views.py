"""Views of the queue: tabs with counts, saved for oneself or for everybody."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from orders import filters, paging, saved_views, selectors
from orders.filters import STANDING_VIEWS, Filter
from orders.models import Order, SavedView
from orders.services import asking, viewing
from orders.services.actors import Actor
from tests.orders.conftest import SignedIn


@pytest.fixture
def at_leads(lead: User, signed_in: SignedIn) -> Client:
    return signed_in(lead)


def said(answer: object) -> str:
    return str(next(iter(answer.context["messages"])))  # type: ignore[attr-defined]


def save(at: Client, name: str = "Germany", query: str = "country=DE", **more: str) -> str:
    return said(at.post("/views/", {"name": name, "query": query, **more}, follow=True))


def tabs(user: User, query: str = "") -> dict[str, str]:
    wanted = filters.parse(dict(pair.split("=") for pair in query.split("&") if pair))
    shown = saved_views.tabs(viewer=user, wanted=wanted, at=timezone.now())
    return {tab.name: f"{tab.count}{' current' if tab.is_current else ''}" for tab in shown}


def test_every_view_is_a_tab_with_its_count(
    at_alices: Client, alice: User, order_in_review: Order, short_order: Order
) -> None:
    assert save(at_alices) == "Saved as “Germany”."

    assert tabs(alice, "country=DE") == {
        "All waiting": "2",
        **{name: "0" for name, _ in STANDING_VIEWS},
        "Needs help": "1",
        "Germany": "2 current",
    }
    page = at_alices.get("/?country=DE").content.decode()
    assert 'href="/?country=DE" aria-current="page"' in page
    assert "Change view…" in page
    assert "Save view…" in page


def test_all_counts_take_one_query_and_stop_at_the_cap(
    alice: User,
    at_alices: Client,
    order_in_review: Order,
    short_order: Order,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    monkeypatch.setattr(paging, "COUNT_UP_TO", 1)
    save(at_alices, "One", "country=DE")
    save(at_alices, "Another", "sort=amount")

    with django_assert_max_num_queries(2):
        shown = tabs(alice)

    assert shown["All waiting"] == "1+ current"
    assert shown["One"] == shown["Another"] == "1+"


def test_what_is_put_off_counts_again_once_it_is_back(order_in_review: Order, as_bob: Actor) -> None:
    now = timezone.now()
    asking.snooze(
        order_id=order_in_review.pk, actor=as_bob, at=now, reason="Calls back", until=now + timedelta(hours=1)
    )

    counted = [selectors.count_queues([Filter()], at=now + timedelta(hours=hours)) for hours in (0, 2)]

    assert [str(count) for (count,) in counted] == ["0", "1"]


def test_what_one_saves_nobody_else_sees_or_changes(
    at_alices: Client, bob: User, lead: User, signed_in: SignedIn
) -> None:
    save(at_alices)
    view = SavedView.objects.get()

    for other in (bob, lead):
        assert "Germany" not in tabs(other)
        assert signed_in(other).post(f"/views/{view.pk}/rename/", {"name": "Mine"}).status_code == 404
        assert signed_in(other).post(f"/views/{view.pk}/delete/").status_code == 404


def test_a_lead_shares_and_others_see_it_but_cannot_change_it(
    at_alices: Client, alice: User, at_leads: Client, lead: User
) -> None:
    assert save(at_leads, shared="1") == "Saved as “Germany”, for everybody."
    view = SavedView.objects.get()

    assert "Germany" in tabs(alice)
    assert "Change view…" not in at_alices.get("/?country=DE").content.decode()
    answer = at_alices.post(f"/views/{view.pk}/delete/", follow=True)
    assert said(answer) == "Only leads change what everybody sees."
    assert save(at_alices, "Shared", shared="1") == "Only leads save views for everybody."
    assert [str(view) for view in SavedView.objects.all()] == ["Germany"]


def test_it_is_renamed_and_deleted_by_whose_it_is(at_alices: Client, alice: User) -> None:
    save(at_alices)
    view = SavedView.objects.get()

    renamed = at_alices.post(f"/views/{view.pk}/rename/", {"name": " Over \n the border "}, follow=True)
    assert said(renamed) == "It is called “Over the border” now."
    assert "Over the border" in tabs(alice)
    gone = at_alices.post(f"/views/{view.pk}/delete/", follow=True)
    assert "is gone" in said(gone)
    assert "Over the border" not in tabs(alice)


@pytest.mark.parametrize(
    ("name", "query", "told"),
    [
        ("", "country=DE", "Give the view a name."),
        ("x" * 41, "country=DE", "at most 40 characters"),
        ("a\x00b", "country=DE", "at most 40 characters"),
        ("Germany", "sku=LAMP", "There is a view called “Germany” already."),
        ("All", "", "Filter or sort the queue first"),
        ("Long", f"q={'Ж' * 100}&customer={'Ж' * 100}", "too long to be saved"),
        ("Much", "amount_from=much", "amount_from: Enter the amount"),
    ],
)
def test_what_cannot_be_saved_is_told(at_alices: Client, name: str, query: str, told: str) -> None:
    save(at_alices)

    assert told in save(at_alices, name, query)
    assert SavedView.objects.count() == 1


def test_there_is_an_end_to_how_many_one_has(at_alices: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewing, "MOST_VIEWS", 1)
    save(at_alices)

    assert "There are 1 views already" in save(at_alices, "Another")


def test_a_view_that_makes_no_sense_any_more_has_no_count_and_breaks_nothing(at_alices: Client, alice: User) -> None:
    SavedView.objects.create(owner=alice, name="Old", query="status=lost", created_at=timezone.now())

    assert tabs(alice)["Old"] == "None"
    assert at_alices.get("/").status_code == 200


def test_a_view_of_what_has_no_words_to_search_for_counts_none(at_alices: Client, order_in_review: Order) -> None:
    save(at_alices, "Puzzled", "q=%3F%21")

    page = at_alices.get("/")

    assert page.status_code == 200
    assert {tab.name: str(tab.count) for tab in page.context["tabs"]}["Puzzled"] == "0"


def test_counts_are_asked_for_as_things_change(at_alices: Client, order_in_review: Order) -> None:
    fragments = at_alices.get("/live/views/").json()["fragments"]

    assert len(fragments) == 1 + len(STANDING_VIEWS)
    assert 'id="count-all-0"' in fragments[0]
    assert ">1</span>" in fragments[0]


def test_two_shared_views_of_one_name_are_refused_by_the_database(alice: User, bob: User) -> None:
    now = timezone.now()
    SavedView.objects.create(owner=alice, name="A", query="q=a", is_shared=True, created_at=now)

    with pytest.raises(IntegrityError, match="view_name_once_among_shared"):
        SavedView.objects.create(owner=bob, name="A", query="q=b", is_shared=True, created_at=now)


def test_nobody_saves_a_view_for_a_filter_that_leaves_nothing_out(alice: User) -> None:
    with pytest.raises(viewing.ViewRefused):
        viewing.save_view(actor=Actor.operator(alice), name="All", wanted=Filter(), is_shared=False, at=timezone.now())
