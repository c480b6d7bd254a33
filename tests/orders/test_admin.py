"""The raw records: who sees them, that nothing of an order can be changed there, and that stock is moved safely."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from orders.admin import CappedPaginator
from orders.models import (
    AccountEvent,
    ApiClient,
    Event,
    IdempotencyKey,
    LoyaltyEntry,
    Order,
    Preferences,
    Product,
    SavedView,
    SecondFactor,
    SignInTry,
)
from orders.services import (
    actors,
    asking,
    bulk,
    drifting,
    fulfilling,
    noting,
    paying,
    relaying,
    reviewing,
    shipping,
    stocking,
)
from orders.states import Action

NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
RECORDS = sorted((model for model in apps.get_app_config("orders").get_models()), key=lambda model: model.__name__)
READ_ONLY = [model for model in RECORDS if model is not Product]


@pytest.fixture(autouse=True)
def _static_files_as_they_are(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}


@pytest.fixture
def erin(db: None) -> User:
    user = User.objects.create_user("erin", is_staff=True)
    user.groups.add(Group.objects.get(name="admin"))
    return user


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", password="correct horse")


def _signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def _address(model: type[Model], page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.fixture
def shipped(order_in_review: Order, alice: User, settings: Settings) -> Order:
    """An order that has a record of every kind."""
    settings.CUSTOMERS_GET_MAIL = True
    order: dict[str, Any] = {"order_id": order_in_review.pk, "at": NOW}
    settings.DESK_URL = "https://desk.example"
    asking.ask(**order, actor=actors.Actor.operator(alice), question="Which flat?", until=NOW + timedelta(hours=1))
    reviewing.approve(**order, actor=actors.Actor.operator(alice))
    fulfilling.reserve_stock(**order)
    paying.begin_charge(**order)
    paying.record_charge(**order, reference="ch_1", declined="")
    shipping.begin_package(**order)
    relaying.record_heartbeat(worker="w-1", queues="orders", started_at=NOW, temporal_seen_at=NOW, at=NOW)
    client = ApiClient.objects.create(name="shop", token_hash="0" * 64, scopes=["place"], created_at=NOW)
    IdempotencyKey.objects.create(client=client, key="key-1", body_hash="0" * 64, order=order_in_review, created_at=NOW)
    chosen = {order_in_review.pk: 1}
    bulk.begin(bulk_id=uuid.uuid4(), action=Action.APPROVE, chosen=chosen, actor=actors.Actor.operator(alice), at=NOW)
    LoyaltyEntry.objects.create(order=order_in_review, points=1_200, awarded_at=NOW)
    Preferences.objects.create(user=alice, zone="Europe/Berlin", locale="de_DE")
    SavedView.objects.create(owner=alice, name="Germany", query="country=DE", created_at=NOW)
    drifting.record(found=[], at=NOW)
    AccountEvent.objects.create(account=alice, type="set_up", actor="alice", at=NOW)
    SecondFactor.objects.create(user=alice, secret=b"sealed", last_step=0, recovery_hashes=[], set_up_at=NOW)
    SignInTry.objects.create(name_hash="0" * 64, network="192.0.2.1", at=NOW)
    User.objects.create_superuser("carol")
    noting.write_note(**order, actor=actors.Actor.operator(alice), text="For @carol")
    order_in_review.refresh_from_db()
    return order_in_review


def test_every_model_of_the_orders_is_there() -> None:
    assert {model for model in admin.site._registry if model._meta.app_label == "orders"} == set(RECORDS)


def test_an_admin_sees_each_list_and_each_record(erin: User, shipped: Order) -> None:
    client = _signed_in(erin)

    def answers(model: type[Model]) -> tuple[int, ...]:
        record = model._default_manager.first()
        assert record is not None
        asked = [
            client.get(_address(model, "changelist")),
            client.get(_address(model, "changelist"), {"q": shipped.number}),
            client.get(_address(model, "change", record.pk)),
        ]
        return tuple(answer.status_code for answer in asked)

    assert {model: answers(model) for model in RECORDS} == dict.fromkeys(RECORDS, (200, 200, 200))


@pytest.mark.parametrize("role", ["viewer", "operator", "lead"])
def test_others_are_not_let_in(db: None, role: str) -> None:
    user = User.objects.create_user("somebody")
    user.groups.add(Group.objects.get(name=role))

    answer = _signed_in(user).get(_address(Order, "changelist"))

    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


def test_not_even_a_superuser_can_add_change_or_delete_a_record(root: User, shipped: Order) -> None:
    client = _signed_in(root)

    def records() -> dict[type[Model], list[dict[str, Any]]]:
        return {model: list(model._default_manager.order_by("pk").values()) for model in READ_ONLY}

    def answers(model: type[Model]) -> tuple[int, ...]:
        record = model._default_manager.first()
        assert record is not None
        asked = [
            client.post(_address(model, "add"), {}),
            client.post(_address(model, "change", record.pk), {"status": "completed", "actor": "nobody"}),
            client.post(_address(model, "delete", record.pk), {"post": "yes"}),
        ]
        chosen = {"action": "delete_selected", "_selected_action": str(record.pk), "post": "yes"}
        client.post(_address(model, "changelist"), chosen)
        return tuple(answer.status_code for answer in asked)

    before = records()

    assert {model: answers(model) for model in READ_ONLY} == dict.fromkeys(READ_ONLY, (403, 403, 403))
    assert records() == before


@pytest.mark.parametrize("found_by", ["{number}", "ann", "ANN LEE", "ann.lee@example", "{reference}", "lee exam"])
def test_orders_are_found_by_beginnings_of_words(erin: User, order_in_review: Order, found_by: str) -> None:
    words = found_by.format(number=order_in_review.number, reference=order_in_review.reference)

    answer = _signed_in(erin).get(_address(Order, "changelist"), {"q": words})

    assert list(answer.context["cl"].result_list) == [order_in_review]


@pytest.mark.parametrize("lost", ["Bob", "CS-1", "'", "!!", "x & b | c", "%", "nn lee", "\\", "(((", ":*"])
def test_what_is_not_there_is_not_found_and_breaks_nothing(erin: User, order_in_review: Order, lost: str) -> None:
    answer = _signed_in(erin).get(_address(Order, "changelist"), {"q": lost})

    assert answer.status_code == 200
    assert lost == "CS-1" or list(answer.context["cl"].result_list) == []


def test_a_record_is_found_by_the_number_of_its_order(erin: User, shipped: Order, place: Callable[..., Order]) -> None:
    place()

    answer = _signed_in(erin).get(_address(Event, "changelist"), {"q": shipped.number})

    assert {event.order_id for event in answer.context["cl"].result_list} == {shipped.pk}


@pytest.mark.parametrize("asked", [{"status__exact": "lost"}, {"p": "99999"}, {"q": "\x00"}, {"o": "-1.2"}])
def test_odd_addresses_are_answered_calmly(erin: User, order_in_review: Order, asked: dict[str, str]) -> None:
    answer = _signed_in(erin).get(_address(Order, "changelist"), asked)

    assert answer.status_code in (200, 302)


def test_lists_count_no_further_than_they_page(
    erin: User, place: Callable[..., Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CappedPaginator, "most", 3)
    for _ in range(5):
        place()

    answer = _signed_in(erin).get(_address(Order, "changelist"))

    assert answer.context["cl"].result_count == 3


def test_a_longer_list_takes_no_more_queries(
    erin: User,
    shipped: Order,
    place: Callable[..., Order],
    django_assert_max_num_queries: Callable[[int], Any],
) -> None:
    for _ in range(5):
        order = place()
        reviewing.receive_order(order_id=order.pk, at=NOW)
        reviewing.validate_order(order_id=order.pk, at=NOW)
    client = _signed_in(erin)

    for model in RECORDS:
        with django_assert_max_num_queries(7):
            client.get(_address(model, "changelist"))


def test_an_order_shows_everything_that_hangs_on_it(erin: User, shipped: Order) -> None:
    page = _signed_in(erin).get(_address(Order, "change", shipped.pk)).content.decode()

    for shown in (shipped.number, "LAMP Brass desk lamp", "ch_1", "charge_requested", "start", "€1,200.00"):
        assert shown in page
    assert shipped.get_absolute_url() in page or "view_on_site" in page or "View on site" in page
    assert 'name="_save"' not in page


def _save(client: Client, product: Product, **changes: str) -> Any:
    fields = {"name": product.name, "forbidden_reason": product.forbidden_reason, "add_to_stock": ""}
    return client.post(_address(Product, "change", product.pk), fields | changes)


def test_a_product_is_renamed_and_banned(erin: User, goods: dict[str, Product]) -> None:
    answer = _save(_signed_in(erin), goods["LAMP"], name="Brass lamp", forbidden_reason="recalled")

    lamp = Product.objects.get(sku="LAMP")
    assert answer.status_code == 302
    assert (lamp.name, lamp.forbidden_reason, lamp.stock) == ("Brass lamp", "recalled", 1_000)


@pytest.mark.parametrize(("units", "stock"), [("40", 1_040), ("-40", 960), ("-1000", 0), ("0", 1_000), ("", 1_000)])
def test_stock_is_moved_by_a_difference(erin: User, goods: dict[str, Product], units: str, stock: int) -> None:
    _save(_signed_in(erin), goods["LAMP"], add_to_stock=units)

    assert Product.objects.get(sku="LAMP").stock == stock


def test_the_history_keeps_by_how_much(erin: User, goods: dict[str, Product]) -> None:
    _save(_signed_in(erin), goods["LAMP"], add_to_stock="-40")

    entry = LogEntry.objects.get()
    assert entry.user == erin
    assert "stock -40" in entry.get_change_message()


def test_saving_a_form_that_was_opened_earlier_keeps_what_orders_took_meanwhile(
    erin: User, goods: dict[str, Product], order_in_review: Order, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_clean(form: Any) -> None:
        """The form has read the product: now an order takes two lamps, before the form is saved."""
        reviewing.approve(order_id=order_in_review.pk, actor=actors.Actor.operator(alice), at=NOW)
        fulfilling.reserve_stock(order_id=order_in_review.pk, at=NOW)
        original(form)

    form = admin.site._registry[Product].form
    original = form.full_clean
    monkeypatch.setattr(form, "full_clean", full_clean)

    _save(_signed_in(erin), goods["LAMP"], name="Brass lamp", add_to_stock="10")

    lamp = Product.objects.get(sku="LAMP")
    assert (lamp.name, lamp.stock) == ("Brass lamp", 1_008)


def test_more_than_there_is_cannot_be_taken_away(erin: User, goods: dict[str, Product]) -> None:
    answer = _save(_signed_in(erin), goods["LAMP"], name="Brass lamp", add_to_stock="-1001")

    assert answer.status_code == 200
    assert "Only 1,000 are free." in answer.content.decode()
    assert Product.objects.get(sku="LAMP").name == "Brass desk lamp"


@pytest.mark.parametrize("units", ["ten", "1e3", "10000000000", "-10000000000", "1.5", "\x00", "٣٣٣٣٣٣٣٣٣٣٣"])
def test_what_is_no_number_of_units_is_refused(erin: User, goods: dict[str, Product], units: str) -> None:
    answer = _save(_signed_in(erin), goods["LAMP"], add_to_stock=units)

    assert answer.status_code == 200
    assert "add_to_stock" in answer.context["adminform"].form.errors
    assert Product.objects.get(sku="LAMP").stock == 1_000


def test_a_product_keeps_its_number_and_its_stock_whatever_is_posted(erin: User, goods: dict[str, Product]) -> None:
    _save(_signed_in(erin), goods["LAMP"], sku="OTHER", stock="5")

    assert Product.objects.get(pk=goods["LAMP"].pk).sku == "LAMP"
    assert Product.objects.get(sku="LAMP").stock == 1_000


def test_a_product_is_added_with_its_first_stock(erin: User) -> None:
    fields = {"sku": "VASE", "name": "Glass vase", "forbidden_reason": "", "add_to_stock": "7", "stock": "99"}

    _signed_in(erin).post(_address(Product, "add"), fields)

    assert Product.objects.get(sku="VASE").stock == 7


def test_a_product_cannot_be_deleted(root: User, goods: dict[str, Product]) -> None:
    answer = _signed_in(root).post(_address(Product, "delete", goods["RUG"].pk), {"post": "yes"})

    assert answer.status_code == 403
    assert Product.objects.filter(sku="RUG").exists()


def test_restocking_by_hand_goes_no_lower_than_nothing(goods: dict[str, Product]) -> None:
    with pytest.raises(stocking.ShortStock):
        stocking.restock(product_id=goods["RARE"].pk, units=-2)

    assert Product.objects.get(sku="RARE").stock == 1


def _person(user: User, **changes: Any) -> dict[str, Any]:
    fields = {"first_name": "", "last_name": "", "email": "", "is_active": "on"}
    return {name: value for name, value in (fields | changes).items() if value is not None}


def test_an_admin_gives_somebody_a_role_and_takes_them_off_duty(erin: User, alice: User) -> None:
    lead = Group.objects.get(name="lead")

    _signed_in(erin).post(_address(User, "change", alice.pk), _person(alice, is_active=None, groups=[lead.pk]))

    alice.refresh_from_db()
    assert list(alice.groups.all()) == [lead]
    assert not alice.is_active


def test_an_admin_cannot_make_a_superuser_nor_rename_anybody(erin: User, alice: User) -> None:
    client = _signed_in(erin)

    for user in (alice, erin):
        fields = _person(user, is_superuser="on", username="ghost", is_staff="on", user_permissions=["1"])
        client.post(_address(User, "change", user.pk), fields)

    assert not User.objects.filter(is_superuser=True).exists()
    assert not User.objects.filter(username="ghost").exists()
    assert not alice.user_permissions.exists()


def test_an_admin_cannot_take_over_a_superuser(erin: User, root: User) -> None:
    client = _signed_in(erin)
    old = root.password

    answers = [
        client.post(_address(User, "change", root.pk), _person(root, is_active=None)),
        client.post(
            reverse("admin:auth_user_password_change", args=[root.pk]),
            {"password1": "battery staple", "password2": "battery staple"},
        ),
    ]

    root.refresh_from_db()
    assert [answer.status_code for answer in answers] == [403, 403]
    assert (root.password, root.is_active) == (old, True)


def test_nobody_is_deleted(root: User, alice: User) -> None:
    answer = _signed_in(root).post(_address(User, "delete", alice.pk), {"post": "yes"})

    assert answer.status_code == 403
    assert User.objects.filter(username="alice").exists()


def test_the_roles_are_shown_and_not_changed(root: User, alice: User) -> None:
    group = Group.objects.get(name="operator")
    client = _signed_in(root)

    assert client.get(_address(Group, "change", group.pk)).status_code == 200
    assert client.post(_address(Group, "change", group.pk), {"name": "boss"}).status_code == 403
