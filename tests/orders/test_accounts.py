"""The groups that the table of roles asks for, and the cast of a demonstration."""

import json
from io import StringIO

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from orders import accounts
from orders.roles import MAY, Role, permission
from orders.states import HUMAN_ACTIONS, Action

pytestmark = pytest.mark.django_db

DECIDES = {
    f"orders.{action}_order"
    for action in ("approve", "reject", "cancel", "retry", "change_address", "extend", "ask", "snooze", "resume")
} | {"orders.write_note", "orders.export_orders"}
DECIDES |= {f"orders.{action}_order" for action in ("claim", "unclaim", "hand_over")}
KEEPS = {
    "auth.add_user",
    "auth.change_user",
    "auth.view_user",
    "auth.view_group",
    "orders.add_product",
    "orders.change_product",
    "orders.change_apiclient",
}


LEADS = {
    "orders.extend_freely",
    "orders.take_over_order",
    "orders.decide_escalated_order",
    "orders.see_team",
    "orders.keep_reject_reasons",
    "orders.share_views",
    "orders.keep_running",
}


def _rights(role: str) -> set[str]:
    return {
        f"{right.content_type.app_label}.{right.codename}" for right in Group.objects.get(name=role).permissions.all()
    }


def _cast(*, reset: bool = False) -> dict[str, dict[str, str | None]]:
    out = StringIO()
    call_command("create_demo_cast", json=True, reset=reset, stdout=out)
    return {member["username"]: member for member in json.loads(out.getvalue())}


@pytest.fixture
def demo(settings: Settings) -> None:
    settings.DEBUG = True


@pytest.mark.parametrize(
    ("role", "rights"),
    [("viewer", set()), ("operator", DECIDES), ("lead", DECIDES | LEADS), ("admin", DECIDES | LEADS | KEEPS)],
)
def test_each_role_has_exactly_its_rights(role: str, rights: set[str]) -> None:
    call_command("create_roles", stdout=StringIO())

    found = _rights(role)

    looks = {right for right in found if right.startswith("orders.view_")}
    assert found - looks == rights
    assert looks == {f"orders.view_{model._meta.model_name}" for model in apps.get_app_config("orders").get_models()}
    assert {"orders.view_order", "orders.view_event", "orders.view_review"} <= looks


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("action", HUMAN_ACTIONS)
def test_the_groups_say_what_the_table_says(role: Role, action: Action) -> None:
    accounts.create_roles()

    assert (permission(action) in _rights(role)) == (action in MAY[role])


def test_making_the_roles_again_changes_nothing() -> None:
    accounts.create_roles()
    before = {role: _rights(role) for role in Role}

    accounts.create_roles()

    assert {role: _rights(role) for role in Role} == before
    assert Group.objects.count() == len(Role)


def test_a_right_given_by_hand_is_taken_back() -> None:
    accounts.create_roles()
    Group.objects.get(name="viewer").permissions.add(Permission.objects.get(codename="approve_order"))

    accounts.create_roles()

    assert "orders.approve_order" not in _rights("viewer")


def test_roles_wait_for_the_migrations() -> None:
    Permission.objects.filter(codename="approve_order").delete()

    with pytest.raises(CommandError, match="migrate"):
        call_command("create_roles")


@pytest.mark.usefixtures("demo")
def test_the_cast_can_sign_in_each_in_their_role() -> None:
    cast = _cast()

    roles = sorted(str(member["role"]) for member in cast.values())
    assert roles == ["admin", "lead", "operator", "operator", "viewer"]
    for name, member in cast.items():
        assert Client().login(username=name, password=member["password"])
        user = User.objects.get(username=name)
        assert [group.name for group in user.groups.all()] == [member["role"]]
        assert user.is_staff == (member["role"] == "admin")
        assert not user.is_superuser
        assert user.first_name


@pytest.mark.usefixtures("demo")
def test_every_password_is_new_and_long() -> None:
    passwords = [str(member["password"]) for member in _cast().values()]

    assert len(set(passwords)) == 5
    assert min(map(len, passwords)) >= 12


@pytest.mark.usefixtures("demo")
def test_a_second_call_tells_no_password_and_leaves_the_people_alone() -> None:
    first = _cast()
    User.objects.filter(username="bob").update(is_active=False)
    Group.objects.get(name="lead").user_set.clear()

    second = _cast()

    assert {member["password"] for member in second.values()} == {None}
    assert Client().login(username="alice", password=first["alice"]["password"])
    assert not User.objects.get(username="bob").is_active
    assert not User.objects.get(username="dana").groups.exists()


@pytest.mark.usefixtures("demo")
def test_a_reset_gives_new_passwords_and_the_first_state() -> None:
    first = _cast()
    User.objects.filter(username="bob").update(is_active=False)

    second = _cast(reset=True)

    assert not Client().login(username="bob", password=first["bob"]["password"])
    assert Client().login(username="bob", password=second["bob"]["password"])


@pytest.mark.usefixtures("demo")
def test_at_a_terminal_the_passwords_are_marked_as_demo_only() -> None:
    out = StringIO()

    call_command("create_demo_cast", stdout=out)

    first, *people = out.getvalue().splitlines()
    assert first == "Demo only, shown this once:"
    assert [line.split()[:2] for line in people] == [
        ["alice", "operator"],
        ["bob", "operator"],
        ["dana", "lead"],
        ["erin", "admin"],
        ["vera", "viewer"],
    ]


@pytest.mark.usefixtures("demo")
def test_at_a_terminal_a_second_call_says_how_to_get_new_passwords() -> None:
    _cast()
    out = StringIO()

    call_command("create_demo_cast", stdout=out)

    assert out.getvalue().count("unchanged; --reset gives a new one") == 5


def test_there_is_no_cast_where_it_is_not_a_demonstration() -> None:
    with pytest.raises(CommandError, match="DJANGO_DEBUG off"):
        call_command("create_demo_cast")

    assert not User.objects.exists()
