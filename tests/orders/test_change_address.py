"""POST /orders/<id>/change_address/."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from orders import addresses, demo, money
from orders.models import Order
from orders.services import addressing, claiming
from orders.services.actors import Actor
from orders.services.placing import Address
from orders.states import Status
from tests.orders.conftest import SignedIn

PARIS = {"line1": "5 rue Cler", "line2": "", "postal_code": "75007", "city": "Paris", "region": "", "country": "FR"}


def url(order: Order) -> str:
    return reverse("orders:change_address", args=[order.pk])


def city(order: Order) -> str:
    order.refresh_from_db()
    return order.address_city


def test_the_form_holds_the_address_as_it_is(at_alices: Client, order_in_review: Order) -> None:
    page = at_alices.get(order_in_review.get_absolute_url()).content.decode()

    assert url(order_in_review) in page
    assert 'value="Lindenstr. 4"' in page
    assert '<option value="DE" selected>Germany</option>' in page


def test_it_changes_the_address_and_says_so(at_alices: Client, order_in_review: Order) -> None:
    answer = at_alices.post(url(order_in_review), PARIS, follow=True)

    assert city(order_in_review) == "Paris"
    page = answer.content.decode()
    assert f"{order_in_review.number} goes to the new address." in page
    assert "<strong>Address changed</strong> by alice" in page
    assert '<span class="quiet">Town</span> <del>Berlin</del> → <ins>Paris</ins>' in page
    assert '<span class="quiet">Country</span> <del>Germany</del> → <ins>France</ins>' in page


def test_the_same_address_is_said_to_be_the_same(at_alices: Client, order_in_review: Order) -> None:
    at_alices.post(url(order_in_review), PARIS)

    answer = at_alices.post(url(order_in_review), PARIS)

    assert answer.status_code == 409
    assert "That is the address it has. Nothing was changed." in answer.content.decode()
    assert order_in_review.events.filter(type="change_address").count() == 1


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"country": ""}, "country", "Choose a country."),
        ({"country": "XX"}, "country", "Choose a country."),
        ({"line1": "l" * 201}, "line1", "Street and number is longer than 200 characters."),
        ({"postal_code": "1" * 21}, "postal_code", "Postal code is longer than 20 characters."),
        ({"city": "a\x07b"}, "city", "Town contains a control character."),
        ({"city": "a\x00b"}, "city", "Null characters are not allowed."),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_nothing_typed_is_lost(
    at_alices: Client, order_in_review: Order, changes: dict[str, str], field: str, said: str
) -> None:
    answer = at_alices.post(url(order_in_review), PARIS | changes)

    assert answer.status_code == 422
    page = answer.content.decode()
    assert f'id="{field}-wrong-{order_in_review.pk}" role="alert" data-keep>{said}</p>' in page
    assert page.count('aria-invalid="true"') == 1
    assert 'value="5 rue Cler"' in page or field == "line1"
    assert 'value="75007"' in page or field == "postal_code"
    assert city(order_in_review) == "Berlin"


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        (
            {"postal_code": "7500"},
            "postal_code",
            "Postal code is none of France: they look like 33380 or 34092.",
        ),
        (
            {"postal_code": ""},
            "postal_code",
            "Postal code is missing: addresses there need it.",
        ),
        (
            {"country": "US", "postal_code": "97214-1234"},
            "region",
            "Region is missing: addresses there need the state.",
        ),
        ({"line1": " "}, "line1", "Street and number is missing: addresses there need it."),
        ({"country": "GB", "postal_code": "SW1A 1AA x"}, "postal_code", "Postal code is none of United Kingdom"),
        ({"postal_code": "\uff17\uff15\uff10\uff10\uff17"}, "postal_code", "Postal code is none of France"),
    ],
)
def test_what_the_country_asks_for_is_said_beside_the_field(
    at_alices: Client, order_in_review: Order, changes: dict[str, str], field: str, said: str
) -> None:
    answer = at_alices.post(url(order_in_review), PARIS | changes)

    assert answer.status_code == 422
    page = answer.content.decode()
    assert f'id="{field}-wrong-{order_in_review.pk}" role="alert" data-keep>{said}' in page
    assert page.count('aria-invalid="true"') == 1
    assert city(order_in_review) == "Berlin"


@pytest.mark.parametrize(
    "address",
    [
        PARIS,
        PARIS | {"country": "GB", "postal_code": "ec1y 8sy", "city": "London"},
        PARIS | {"country": "IE", "postal_code": "", "city": "Cork"},
        PARIS | {"country": "AQ", "postal_code": "", "city": "South Pole"},
        PARIS | {"country": "IC", "postal_code": "", "city": "Las Palmas"},  # of which nothing is known
    ],
)
def test_what_the_country_does_not_ask_for_is_not_asked_for(
    at_alices: Client, order_in_review: Order, address: dict[str, str]
) -> None:
    assert at_alices.post(url(order_in_review), address).status_code == 302
    assert city(order_in_review) == address["city"]


def test_every_country_has_rules_or_none_and_the_demo_shops_customers_keep_them() -> None:
    for code in money.countries():
        addresses.wrong_for_country({"country": code, "postal_code": "1"})
    for home in demo.COUNTRIES:
        for postal_code, town, region in home.places:
            lives = {"country": home.code, "line1": "1", "city": town, "postal_code": postal_code, "region": region}
            assert addresses.wrong_for_country(lives) == {}, lives


def test_before_it_is_saved_one_sees_what_would_change(at_alices: Client, order_in_review: Order) -> None:
    check = reverse("orders:check_address", args=[order_in_review.pk])

    by_htmx = at_alices.post(check, PARIS, headers={"HX-Request": "true"})
    wrong = at_alices.post(check, PARIS | {"postal_code": "1"}, headers={"HX-Request": "true"})
    plain = at_alices.post(check, PARIS).content.decode()

    assert '<span class="quiet">Town</span> <del>Berlin</del> → <ins>Paris</ins>' in by_htmx.content.decode()
    assert (by_htmx.status_code, wrong.status_code) == (200, 422)
    assert "Postal code is none of France" in wrong.content.decode()
    assert "<del>Berlin</del> → <ins>Paris</ins>" in plain
    assert 'value="5 rue Cler"' in plain
    assert city(order_in_review) == "Berlin"
    assert not order_in_review.events.filter(type="change_address").exists()


def test_a_viewer_may_not_even_check(viewer: User, signed_in: SignedIn, order_in_review: Order) -> None:
    check = reverse("orders:check_address", args=[order_in_review.pk])

    assert signed_in(viewer).post(check, PARIS).status_code == 403


def test_names_with_signs_of_html_are_shown_as_they_are(at_alices: Client, order_in_review: Order) -> None:
    at_alices.post(url(order_in_review), PARIS | {"line1": '"><script>alert(1)</script>'})

    page = at_alices.get(order_in_review.get_absolute_url()).content.decode()

    assert "<script>alert" not in page


def test_once_the_carrier_is_called_it_is_refused_and_the_text_kept(at_alices: Client, order_in_review: Order) -> None:
    Order.objects.filter(pk=order_in_review.pk).update(status=Status.DISPATCHING)

    answer = at_alices.post(url(order_in_review), PARIS)

    assert answer.status_code == 409
    page = answer.content.decode()
    assert "The address of an order that is dispatching can no longer be changed." in page
    assert "5 rue Cler\n75007\nParis\nFR</textarea>" in page
    assert f'action="{url(order_in_review)}"' not in page


def test_htmx_gets_the_order_alone(at_alices: Client, order_in_review: Order) -> None:
    headers = {"HX-Request": "true", "HX-Target": f"order-{order_in_review.pk}"}

    refused = at_alices.post(url(order_in_review), PARIS | {"country": ""}, headers=headers)
    done = at_alices.post(url(order_in_review), PARIS, headers=headers)

    assert (refused.status_code, done.status_code) == (422, 200)
    assert refused.content.decode().startswith("<article")
    assert "5 rue Cler<br>" in done.content.decode()


def test_a_form_opened_before_a_colleagues_change_does_not_undo_it_unawares(
    at_alices: Client, as_bob: Actor, order_in_review: Order
) -> None:
    def version(page: str) -> str:
        found = re.search(r'name="version" value="([0-9]+)"', page)
        assert found
        return found[1]

    opened = version(at_alices.get(order_in_review.get_absolute_url()).content.decode())
    addressing.change_address(
        order_id=order_in_review.pk,
        actor=as_bob,
        at=timezone.now(),
        address=Address("IT", line1="Via Cavour 8", city="Rome", region="RM", postal_code="00184"),
    )
    claiming.unclaim(order_id=order_in_review.pk, actor=as_bob, at=timezone.now())

    answer = at_alices.post(url(order_in_review), PARIS | {"version": opened})

    page = answer.content.decode()
    assert answer.status_code == 409
    assert "Address changed by bob at" in page
    assert 'value="5 rue Cler"' in page
    assert city(order_in_review) == "Rome"
    at_alices.post(url(order_in_review), PARIS | {"version": version(page)})
    assert city(order_in_review) == "Paris"


def test_a_viewer_may_not(viewer: User, signed_in: SignedIn, order_in_review: Order) -> None:
    assert signed_in(viewer).post(url(order_in_review), PARIS).status_code == 403
    assert url(order_in_review) not in signed_in(viewer).get(order_in_review.get_absolute_url()).content.decode()
    assert city(order_in_review) == "Berlin"


def test_it_is_not_done_by_looking(at_alices: Client, order_in_review: Order) -> None:
    assert at_alices.get(url(order_in_review)).status_code == 405
