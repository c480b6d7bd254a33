"""GET /roles/: who may do what, as the code asks it."""

import re

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils.html import strip_tags

from orders import people, policy
from orders.roles import RIGHTS, Role, rights_of
from tests.orders.conftest import SignedIn


def table(client: Client) -> dict[str, list[str]]:
    """Each right with what it says for viewer, operator, lead and admin."""
    page = client.get("/roles/").content.decode()
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', page, re.DOTALL)
    return {told: [strip_tags(cell) for cell in re.findall(r"<td.*?</td>", cells)] for told, cells in rows}


def test_it_says_of_each_right_who_has_it(at_alices: Client) -> None:
    told = table(at_alices)

    assert told["See orders and all that happened to them"] == ["yes"] * 4
    assert told["Approve an order in review"] == ["no", "yes", "yes", "yes"]
    assert told["Extend the time to decide or to help"] == ["no", "once, 4 h at most", "yes", "yes"]
    assert told["Take an order over from a colleague"] == ["no", "no", "yes", "yes"]
    assert told["Decide on an order that was escalated"] == ["no", "no", "yes", "yes"]
    assert told["Refund an order that has ended, in its own currency"] == ["no", "up to 100", "up to 1,000", "in full"]
    assert told["Keep accounts, goods and API clients, and see the raw records"] == ["no", "no", "no", "yes"]


def test_it_has_a_line_for_every_permission_of_a_role() -> None:
    lines = [line for lines in people.rights_table([]).values() for line in lines]

    for index, role in enumerate(Role):
        may = sum(line.cells[index].may for line in lines)
        besides = {"viewer": 1, "operator": 2, "lead": 2, "admin": 3}[role]  # to look, to refund, to keep records
        assert may == len(rights_of(role)) + besides


def test_it_says_what_holds_for_everybody(at_alices: Client) -> None:
    page = at_alices.get("/roles/").content.decode()

    assert f"an order of {policy.FOUR_EYES_FROM:,.0f} or more" in page
    assert f"a risk of {policy.FOUR_EYES_RISK} or more" in page


def test_no_right_is_one_that_everybody_gets_for_looking() -> None:
    assert not [right.name for right in RIGHTS if right.codename.startswith("view_")]


@pytest.mark.parametrize("name", ["viewer", "operator", "lead", "admin"])
def test_everybody_may_see_it_and_finds_their_role_marked(name: str, viewer: User, signed_in: SignedIn) -> None:
    viewer.groups.set([Group.objects.get(name=name)])

    page = signed_in(viewer).get("/roles/").content.decode()

    assert f"You are {name}." in page
    assert f'class="mine">{name.title()} <span class="count">you</span>' in page
    assert page.count('<th scope="col" class="mine">') == 1


def test_who_has_no_role_is_told_so(viewer: User, signed_in: SignedIn) -> None:
    viewer.groups.clear()

    page = signed_in(viewer).get("/roles/").content.decode()

    assert "You have no role." in page
    assert "you</span>" not in page


def test_a_stranger_is_sent_to_sign_in(client: Client) -> None:
    assert client.get("/roles/").status_code == 302
