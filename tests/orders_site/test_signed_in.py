"""Who asks, and what they may: as Django would say it, by fewer queries."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission, User
from pytest_django import DjangoAssertNumQueries

from orders.roles import Role
from orders_site.signed_in import Accounts


@pytest.mark.parametrize("role", Role)
def test_each_role_may_what_django_says_by_one_query(
    db: None, role: Role, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    user = User.objects.create_user("erin")
    user.groups.set(Group.objects.filter(name__in=[role, "viewer"]))
    user.user_permissions.add(Permission.objects.get(codename="view_group"))
    theirs = ModelBackend().get_all_permissions(user)

    with django_assert_num_queries(1):
        found = Accounts().get_all_permissions(user)
        assert Accounts().get_all_permissions(user) == found

    assert found == theirs
    assert "auth.view_group" in found


def test_who_has_an_account_no_more_is_nobody_and_may_nothing(db: None) -> None:
    user = User.objects.create_user("erin", is_active=False)
    user.groups.add(Group.objects.get(name="lead"))

    assert Accounts().get_user(user.pk) is None
    assert Accounts().get_user(-1) is None
    assert Accounts().get_all_permissions(user) == set()


def test_a_right_that_is_given_counts_from_the_next_request_on(db: None) -> None:
    user = User.objects.create_user("erin")
    assert not user.has_perm("orders.see_team")
    user.groups.add(Group.objects.get(name="lead"))

    assert get_user_model().objects.get(pk=user.pk).has_perm("orders.see_team")
