"""Accounts: the groups that the table in `roles` describes, and the cast of a demonstration."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.db.models import Q
from django.utils.crypto import get_random_string

from orders.roles import KEEPS_RECORDS, Role, rights_of

# What the admin site asks for before it lets somebody keep accounts and stock.
KEEPS = (
    "auth.view_group",
    "auth.view_user",
    "auth.add_user",
    "auth.change_user",
    "orders.add_product",
    "orders.change_product",
    "orders.change_apiclient",
)

DEMO_CAST = {
    "alice": Role.OPERATOR,
    "bob": Role.OPERATOR,
    "dana": Role.LEAD,
    "erin": Role.ADMIN,
    "vera": Role.VIEWER,
}

# No letters or digits that are read for one another.
PASSWORD_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # noqa: S105 - an alphabet, not a password


@dataclass(frozen=True)
class Member:
    """One of the demo cast; `password` is None where the account was there before."""

    username: str
    role: Role
    password: str | None


@transaction.atomic
def create_roles() -> None:
    """Give each role's group exactly what the table allows it, whatever it had before."""
    looks = Permission.objects.filter(content_type__app_label="orders", codename__startswith="view_")
    for role in Role:
        group, _ = Group.objects.get_or_create(name=role)
        keeps = KEEPS if role in KEEPS_RECORDS else ()
        group.permissions.set([*looks, *_permissions([*rights_of(role), *keeps])])


def _permissions(names: Sequence[str]) -> list[Permission]:
    """Look permissions up by `app.codename`.

    Raises LookupError where one is missing, which means that the migrations have not run.
    """
    wanted = Q(pk__in=[])
    for name in names:
        app, _, codename = name.partition(".")
        wanted |= Q(content_type__app_label=app, codename=codename)
    found = list(Permission.objects.filter(wanted))
    if len(found) != len(set(names)):
        raise LookupError("Some permissions are missing: run `manage.py migrate` first.")
    return found


@transaction.atomic
def create_demo_cast(*, reset: bool = False) -> list[Member]:
    """Create the people of a demonstration, each with a random password.

    Accounts that are there already stay as they are, unless `reset` asks for their first state and a new password.
    """
    create_roles()
    return [_cast(username, role, reset=reset) for username, role in DEMO_CAST.items()]


def _cast(username: str, role: Role, *, reset: bool) -> Member:
    user, created = User.objects.get_or_create(username=username)
    if not (created or reset):
        return Member(username, role, None)
    password = get_random_string(12, PASSWORD_ALPHABET)
    user.first_name = username.title()
    user.last_name = "(demo)"
    user.is_active = True
    user.is_staff = role == Role.ADMIN
    user.set_password(password)
    user.save()
    user.groups.set([Group.objects.get(name=role)])
    return Member(username, role, password)


@transaction.atomic
def create_bench_operator(role: Role = Role.OPERATOR) -> User:
    """Who decides, or looks, in a bench: somebody as whom nobody can sign in."""
    create_roles()
    user, created = User.objects.get_or_create(username="bench")
    if created:
        user.set_unusable_password()
        user.save()
    user.groups.set([Group.objects.get(name=role)])
    return user


SEED_OPERATORS = ("ada", "ben", "cleo", "dov", "eva", "finn")


@transaction.atomic
def create_seed_operators() -> list[User]:
    """Who decided on made-up orders: operators with whom nobody can sign in."""
    create_roles()
    operators = []
    for name in SEED_OPERATORS:
        user, created = User.objects.get_or_create(username=name)
        if created:
            user.set_unusable_password()
            user.save()
            user.groups.set([Group.objects.get(name=Role.OPERATOR)])
        operators.append(user)
    return operators
