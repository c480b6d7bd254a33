"""POST /orders/<id>/approve/."""

import uuid

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from orders import live
from orders.models import Order
from orders.services import reviewing, undoing
from orders.services.actors import Actor
from orders.states import Status
from tests.orders.conftest import SignedIn


def url(order: Order) -> str:
    return reverse("orders:approve", args=[order.pk])


def test_it_approves_and_goes_back_to_where_it_was_asked(at_alices: Client, order_in_review: Order) -> None:
    answer = at_alices.post(url(order_in_review), {"next": "/"}, follow=True)

    order_in_review.refresh_from_db()
    assert order_in_review.status == Status.APPROVED
    assert answer.redirect_chain == [("/", 302)]
    assert f"{order_in_review.number} approved." in answer.content.decode()


def test_it_goes_to_the_order_where_it_may_not_go_back(at_alices: Client, order_in_review: Order) -> None:
    answer = at_alices.post(url(order_in_review), {"next": "https://elsewhere.example/"})

    assert answer.headers["Location"] == order_in_review.get_absolute_url()


@pytest.mark.parametrize("where", ["queue", "order"])
def test_a_script_gets_the_fragment_that_it_asked_for(at_alices: Client, order_in_review: Order, where: str) -> None:
    target = f"{where}-{order_in_review.pk}"

    answer = at_alices.post(url(order_in_review), headers={"HX-Request": "true", "HX-Target": target})

    assert answer.status_code == 200
    body = answer.content.decode().lstrip()
    assert body.startswith("<tr" if where == "queue" else "<article")
    assert f'id="{target}"' in body
    assert "Approved by alice" in body
    assert "HX-Request" in answer.headers["Vary"]


def test_the_same_click_twice_reads_as_done(at_alices: Client, order_in_review: Order) -> None:
    at_alices.post(url(order_in_review))

    again = at_alices.post(url(order_in_review))

    assert again.status_code == 302
    assert order_in_review.events.filter(type="approve").count() == 1


def test_it_is_not_done_by_looking(at_alices: Client, order_in_review: Order) -> None:
    assert at_alices.get(url(order_in_review)).status_code == 405


def test_a_stranger_is_sent_to_the_sign_in(client: Client, order_in_review: Order) -> None:
    answer = client.post(url(order_in_review))

    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(reverse("login"))


def test_a_strangers_script_is_told_to_sign_in(client: Client, order_in_review: Order) -> None:
    answer = client.post(url(order_in_review), headers={"HX-Request": "true"})

    assert answer.status_code == 401


def test_a_viewer_may_not(viewer: User, signed_in: SignedIn, order_in_review: Order) -> None:
    answer = signed_in(viewer).post(url(order_in_review))

    assert answer.status_code == 403
    assert "You can view orders but not decide on them." in answer.content.decode()
    order_in_review.refresh_from_db()
    assert order_in_review.status == Status.IN_REVIEW


def test_a_viewers_script_gets_the_row_with_the_reason(
    viewer: User, signed_in: SignedIn, order_in_review: Order
) -> None:
    target = f"queue-{order_in_review.pk}"

    answer = signed_in(viewer).post(url(order_in_review), headers={"HX-Request": "true", "HX-Target": target})

    assert answer.status_code == 403
    assert f'id="{target}"' in answer.content.decode()
    assert "You can view orders but not decide on them." in answer.content.decode()


def test_a_page_shows_refusals_itself_where_debugging_is_on(at_alices: Client, settings: Settings) -> None:
    settings.DEBUG = True

    page = at_alices.get("/").content.decode()

    assert "django_htmx/htmx-2.min.js" in page
    assert "django-htmx.js" not in page  # which puts the whole answer in the page's place, and what was typed is gone


def test_a_forged_request_is_refused(alice: User, order_in_review: Order) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)

    answer = strict.post(url(order_in_review))

    assert answer.status_code == 403
    assert "This page is out of date" in answer.content.decode()


def test_who_comes_second_is_told_who_was_first(at_alices: Client, as_bob: Actor, order_in_review: Order) -> None:
    reviewing.reject(order_id=order_in_review.pk, actor=as_bob, at=timezone.now(), reason="Fraud")

    answer = at_alices.post(url(order_in_review))

    assert answer.status_code == 409
    assert "Rejected by bob" in answer.content.decode()
    assert "your approval was not carried out" in answer.content.decode()


def test_who_comes_after_the_deadline_is_told_so(at_alices: Client, expired_order: Order) -> None:
    answer = at_alices.post(url(expired_order))

    assert answer.status_code == 409
    assert "Expired at" in answer.content.decode()


def test_an_order_that_nobody_has_to_decide_on_is_refused(at_alices: Client, order_in_review: Order) -> None:
    Order.objects.filter(pk=order_in_review.pk).update(status=Status.PLACED)
    order_in_review.reviews.all().delete()

    assert at_alices.post(url(order_in_review)).status_code == 409


def test_an_order_that_is_not_there_is_not_found(at_alices: Client) -> None:
    assert at_alices.post(reverse("orders:approve", args=[uuid.uuid4()])).status_code == 404


def test_the_same_decision_by_somebody_else_is_no_second_click(
    at_alices: Client, as_bob: Actor, order_in_review: Order
) -> None:
    reviewing.approve(order_id=order_in_review.pk, actor=as_bob, at=timezone.now())

    answer = at_alices.post(url(order_in_review))

    assert answer.status_code == 409
    assert "Approved by bob" in answer.content.decode()


def test_a_second_click_after_a_cancel_does_not_read_as_done(
    at_alices: Client, as_bob: Actor, order_in_review: Order
) -> None:
    at_alices.post(url(order_in_review))
    undoing.cancel(order_id=order_in_review.pk, actor=as_bob, at=timezone.now(), reason="")

    answer = at_alices.post(url(order_in_review))

    assert answer.status_code == 409
    assert "and cancelled since, so your approval was not carried out" in answer.content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_holds_is_told_and_not_waited_for(at_alices: Client, order_in_review: Order) -> None:
    with psycopg.connect(**live.connection_parameters() | {"dbname": connection.settings_dict["NAME"]}) as other:
        other.execute("SELECT FROM orders_order WHERE id = %s FOR UPDATE", [order_in_review.pk])
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 50")

        answer = at_alices.post(url(order_in_review))

    assert answer.status_code == 409
    assert "Somebody else is working on this order at this moment" in answer.content.decode()
