"""The forms that put an order off and take it back, and the page on which a customer answers."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from orders.models import InfoRequest, Order
from orders.services import asking, reviewing
from orders.services.actors import Actor
from tests.orders.conftest import SignedIn

HOUR = timedelta(hours=1)
ASK = {"question": "Which flat is it?", "wait": "240"}
SNOOZE = {"reason": "She calls back", "wait": "60"}


@pytest.fixture(autouse=True)
def _with_mail(settings: Settings) -> None:
    settings.CUSTOMERS_GET_MAIL = True
    settings.DESK_URL = "https://desk.example"
    settings.DEFAULT_FROM_EMAIL = "The Lamp Shop <orders@shop.example>"


@pytest.fixture
def asked(order_in_review: Order, as_alice: Actor) -> InfoRequest:
    now = datetime.now(UTC)
    return asking.ask(order_id=order_in_review.pk, actor=as_alice, at=now, question="Which <b>?", until=now + HOUR)


@pytest.fixture
def customer() -> Client:
    """Somebody who is signed in nowhere, with a browser that has to bring the form's token."""
    return Client(enforce_csrf_checks=True)


def post(client: Client, order: Order, name: str, form: dict[str, str], **headers: str) -> HttpResponse:
    return client.post(reverse(f"orders:{name}", args=[order.pk]), form, headers=headers or None)  # type: ignore[return-value]


def link_of(asked: InfoRequest) -> str:
    return asking.link_to(asked).removeprefix("https://desk.example")


def send(customer: Client, asked: InfoRequest, text: str) -> HttpResponse:
    page = customer.get(link_of(asked)).content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    form = {"answer": text, "csrfmiddlewaretoken": token[1] if token else ""}
    return customer.post(link_of(asked), form)  # type: ignore[return-value]


class TestForms:
    def test_asking_takes_it_from_the_queue_and_says_what_it_waits_for(
        self, at_alices: Client, order_in_review: Order
    ) -> None:
        before = at_alices.get(reverse("orders:queue")).content.decode()

        response = post(at_alices, order_in_review, "ask", ASK)

        assert response.status_code == 302
        page = at_alices.get(order_in_review.get_absolute_url()).content.decode()
        for said in ("Which flat is it?", "Its deadline goes on running", "Take back", "alice asked"):
            assert said in page
        assert order_in_review.number in before
        assert order_in_review.number not in at_alices.get(reverse("orders:queue")).content.decode()

    def test_putting_off_and_taking_back(self, at_alices: Client, order_in_review: Order) -> None:
        assert post(at_alices, order_in_review, "snooze", SNOOZE).status_code == 302
        assert post(at_alices, order_in_review, "resume", {}).status_code == 302
        again = post(at_alices, order_in_review, "resume", {})

        assert again.status_code == 302
        assert [e.type for e in order_in_review.events.order_by("sequence")][-2:] == ["snooze", "resume"]

    def test_a_row_that_was_put_off_stays_with_what_it_waits_for(
        self, at_alices: Client, order_in_review: Order
    ) -> None:
        headers = {"HX-Request": "true", "HX-Target": f"queue-{order_in_review.pk}"}

        row = post(at_alices, order_in_review, "snooze", SNOOZE, **headers).content.decode()

        assert "She calls back" in row
        assert 'class="row decided"' in row
        assert reverse("orders:resume", args=[order_in_review.pk]) in row

    def test_the_same_sent_twice_is_no_conflict_and_another_is(self, at_alices: Client, order_in_review: Order) -> None:
        for _ in range(2):
            assert post(at_alices, order_in_review, "ask", ASK).status_code == 302

        other = post(at_alices, order_in_review, "ask", ASK | {"question": "Which street?"})

        assert other.status_code == 409
        assert "Which street?" in other.content.decode()
        assert InfoRequest.objects.count() == 1

    @pytest.mark.parametrize(
        ("name", "form"),
        [
            ("ask", {"wait": "60"}),
            ("ask", {"question": " ", "wait": "60"}),
            ("ask", {"question": "Which?", "wait": "7"}),
            ("ask", {"question": "Which?"}),
            ("snooze", {"wait": "60"}),
            ("snooze", {"reason": "x" * 2_001, "wait": "60"}),
        ],
    )
    def test_what_makes_no_sense_is_told_and_kept(
        self, at_alices: Client, order_in_review: Order, name: str, form: dict[str, str]
    ) -> None:
        response = post(at_alices, order_in_review, name, form)

        assert response.status_code == 422
        assert form.get("question", "").strip() in response.content.decode()
        assert order_in_review.reviews.get().back_at is None

    def test_longer_than_the_deadline_the_deadline_moves_along_or_it_is_refused(
        self, lead: User, signed_in: SignedIn, order_in_review: Order
    ) -> None:
        danas, due_at = signed_in(lead), order_in_review.reviews.get().due_at

        assert post(danas, order_in_review, "ask", ASK | {"wait": "4320"}).status_code == 409
        seen = {"version": str(order_in_review.version)}
        assert post(danas, order_in_review, "ask", ASK | {"wait": "4320", "extend": "on"} | seen).status_code == 302

        assert order_in_review.reviews.get().due_at == due_at + 72 * HOUR

    def test_to_the_deadline_leaves_a_quarter_of_an_hour(self, at_alices: Client, order_in_review: Order) -> None:
        assert post(at_alices, order_in_review, "snooze", SNOOZE | {"wait": "deadline"}).status_code == 302

        review = order_in_review.reviews.get()
        assert review.back_at == review.due_at - HOUR / 4

    def test_a_viewer_may_not_and_nobody_does_by_looking(
        self, viewer: User, signed_in: SignedIn, at_alices: Client, order_in_review: Order
    ) -> None:
        for name, form in (("ask", ASK), ("snooze", SNOOZE), ("resume", {})):
            assert post(signed_in(viewer), order_in_review, name, form).status_code == 403
            assert at_alices.get(reverse(f"orders:{name}", args=[order_in_review.pk])).status_code == 405

    def test_after_the_decision_it_is_refused_with_the_text_kept(
        self, at_alices: Client, as_bob: Actor, order_in_review: Order
    ) -> None:
        reviewing.approve(order_id=order_in_review.pk, actor=as_bob, at=datetime.now(UTC))

        response = post(at_alices, order_in_review, "ask", ASK)

        assert response.status_code == 409
        page = response.content.decode()
        assert "Approved by bob" in page
        assert "so your question was not carried out" in page
        assert "Which flat is it?" in page

    def test_without_a_mailbox_the_page_says_why_nobody_can_be_asked(
        self, at_alices: Client, order_in_review: Order
    ) -> None:
        Order.objects.filter(pk=order_in_review.pk).update(customer_email="")

        page = at_alices.get(order_in_review.get_absolute_url()).content.decode()

        assert "The customer has no e-mail address" in page
        assert reverse("orders:ask", args=[order_in_review.pk]) not in page
        assert reverse("orders:snooze", args=[order_in_review.pk]) in page


class TestCustomersPage:
    def test_it_shows_the_number_the_question_and_a_field_and_no_more(
        self, customer: Client, asked: InfoRequest
    ) -> None:
        response = customer.get(link_of(asked))

        page = response.content.decode()
        assert response.status_code == 200
        assert asked.review.order.number in page
        assert "Which &lt;b&gt;?" in page
        assert "The Lamp Shop" in page
        for secret in ("Ann Lee", "ann.lee", "alice", "1,200", "Lindenstr", "Berlin", "Countersign", "sign-in"):
            assert secret not in page
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Robots-Tag"] == "noindex"

    def test_it_takes_one_answer_and_thanks(self, customer: Client, asked: InfoRequest, at_alices: Client) -> None:
        first = send(customer, asked, "The second <i>")
        thanks = customer.get(link_of(asked))

        assert (first.status_code, thanks.status_code) == (302, 200)
        page = thanks.content.decode()
        assert "You have answered this already. Thank you." in page
        assert "The second" not in page
        assert "<textarea" not in page
        order = asked.review.order
        assert "The second &lt;i&gt;" in at_alices.get(order.get_absolute_url()).content.decode()
        assert order.number in at_alices.get(reverse("orders:queue")).content.decode()

    def test_a_second_answer_that_was_under_way_is_refused(self, customer: Client, asked: InfoRequest) -> None:
        page = customer.get(link_of(asked)).content.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token
        form = {"answer": "The second", "csrfmiddlewaretoken": token[1]}
        customer.post(link_of(asked), form)

        second = customer.post(link_of(asked), form | {"answer": "The third"})

        assert second.status_code == 409
        assert "answered this already" in second.content.decode()
        asked.refresh_from_db()
        assert asked.answer == "The second"

    @pytest.mark.parametrize("text", ["", "  ", "x" * 2_001, "\x00"])
    def test_an_answer_that_is_none_is_told_and_kept(self, customer: Client, asked: InfoRequest, text: str) -> None:
        response = send(customer, asked, text)

        assert response.status_code == 422
        assert 'role="alert"' in response.content.decode()
        asked.refresh_from_db()
        assert asked.answered_at is None

    def test_without_the_forms_token_nothing_is_taken(self, customer: Client, asked: InfoRequest) -> None:
        assert customer.post(link_of(asked), {"answer": "Forged"}).status_code == 403
        asked.refresh_from_db()
        assert asked.answered_at is None

    def test_a_link_that_was_tampered_with_leads_nowhere(self, customer: Client, asked: InfoRequest) -> None:
        link = link_of(asked)
        for wrong in (
            link[:-2] + "/",
            link.replace(f"/{asked.pk}:", f"/{asked.pk + 1}:"),
            "/answer/1/",
            "/answer/x:y/",
        ):
            response = customer.get(wrong)
            assert response.status_code == 404, wrong
            assert "not complete" in response.content.decode()
            assert asked.review.order.number not in response.content.decode()

    def test_an_old_link_and_a_settled_order_say_so(
        self, customer: Client, asked: InfoRequest, as_bob: Actor, lead: User
    ) -> None:
        InfoRequest.objects.update(asked_at=datetime.now(UTC) - timedelta(days=31))
        old = customer.get(link_of(asked))
        assert (old.status_code, "too old" in old.content.decode()) == (410, True)
        assert "Which" not in old.content.decode()

        InfoRequest.objects.update(asked_at=datetime.now(UTC))
        reviewing.approve(order_id=asked.review.order_id, actor=as_bob, at=datetime.now(UTC))
        settled = customer.get(link_of(asked))
        assert (settled.status_code, "settled meanwhile" in settled.content.decode()) == (410, True)
