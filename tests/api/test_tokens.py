"""Clients of the API and their tokens."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client

from orders import accounts
from orders.models import ApiClient
from orders.services import clients
from tests.api.calls import refused, send
from tests.api.conftest import Body

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def test_the_command_prints_a_token_that_works_and_is_kept_nowhere(
    goods: object, body: Body, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("create_api_client", "shop", "--scope", "read", "--scope", "place")

    token = capsys.readouterr().out.strip()
    assert len(token) == 43
    assert token not in str(ApiClient.objects.values().get())
    assert send(Client(headers={"Authorization": f"Bearer {token}"}), body).status_code == 201


@pytest.mark.parametrize(
    "arguments",
    [
        ["", "--scope", "read"],
        ["n" * 41, "--scope", "read"],
        ["a\x00b", "--scope", "read"],
        ["desk", "--scope", "decide"],
        ["desk", "--scope", "decide", "--user", "nobody"],
        ["desk", "--scope", "rule"],
        ["desk"],
    ],
)
def test_the_command_refuses_what_makes_no_sense(db: None, arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("create_api_client", *arguments)

    assert not ApiClient.objects.exists()


def test_a_name_is_taken_once(db: None) -> None:
    call_command("create_api_client", "shop", "--scope", "read")

    with pytest.raises(CommandError, match="already"):
        call_command("create_api_client", "shop", "--scope", "place")

    assert ApiClient.objects.get().scopes == ["read"]


def test_the_database_refuses_one_who_decides_as_nobody(db: None) -> None:
    with pytest.raises(IntegrityError, match="api_client_decides_as_somebody"), transaction.atomic():
        ApiClient.objects.create(name="x", token_hash="x", scopes=["decide"], created_at=NOW)
    with pytest.raises(IntegrityError, match="api_client_scopes_known"), transaction.atomic():
        ApiClient.objects.create(name="x", token_hash="x", scopes=["rule"], created_at=NOW)


def test_a_revoked_token_counts_no_longer(shop: Client, body: Body) -> None:
    client = ApiClient.objects.get()

    clients.revoke(client_id=client.pk, at=NOW)
    clients.revoke(client_id=client.pk, at=NOW + timedelta(days=1))

    refused(send(shop, body), 401)
    client.refresh_from_db()
    assert client.revoked_at == NOW


def test_its_use_is_noted_once_a_minute(alice: User) -> None:
    token = clients.create_client(name="desk", scopes=["decide"], user=alice, at=NOW)  # type: ignore[list-item]

    noted = []
    for seconds in (0, 59, 61):
        clients.client_with_token(token=token, at=NOW + timedelta(seconds=seconds))
        noted.append(ApiClient.objects.get().last_used_at)

    assert noted == [NOW, NOW, NOW + timedelta(seconds=61)]


def test_an_admin_revokes_it_in_the_records(shop: Client, body: Body) -> None:
    accounts.create_roles()
    erin = User.objects.create_user("erin", is_staff=True)
    erin.groups.add(Group.objects.get(name="admin"))
    at_records = Client()
    at_records.force_login(erin)
    chosen = {"action": "revoke", "_selected_action": [ApiClient.objects.get().pk]}

    at_records.post("/admin/orders/apiclient/", chosen)

    refused(send(shop, body), 401)
    assert "token_hash" not in at_records.get("/admin/orders/apiclient/1/change/", follow=True).content.decode()
