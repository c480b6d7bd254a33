"""What Temporal is given to keep: readable there without keys, by nobody but us with them."""

import os
import secrets
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django.fixtures import Settings
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from orders.services import reviewing
from orders.services.actors import Actor
from orders.services.placing import NewLine
from orders_site.env import env_keys
from temporal_workers import encrypting, histories
from temporal_workers.encrypting import CannotDecrypt, Encryption
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, wait_for_status

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)


@pytest.fixture(params=[{}, {"2026": NEW}], ids=["clear", "encrypted"])
def providers(queues: None, settings: Settings, request: pytest.FixtureRequest) -> None:
    settings.TEMPORAL_PAYLOAD_KEYS = request.param


def test_a_customers_name_is_in_temporals_file_without_keys_and_not_with_them(
    place: PlaceOrder, engine: Engine, settings: Settings
) -> None:
    name = f"Zenobia Quill-{secrets.token_hex(8)}"
    order = place(lines=[NewLine("LAMP", 1, 20_000)], customer_name=name)

    wait_for_status(order, "completed")

    # The file and what SQLite has not yet moved into it.
    kept = b"".join(file.read_bytes() for file in Path(os.environ["TEST_TEMPORAL_FOLDER"]).glob("temporal.db*"))
    assert str(order.pk).encode() in kept
    is_clear = not settings.TEMPORAL_PAYLOAD_KEYS
    assert (name.encode() in kept) is is_clear
    assert (f'"{order.pk}"'.encode() in kept) is is_clear  # as JSON; in the clear it is in the run's own id
    assert ("Local activity completed", "receive_order") in [
        (line.what, line.detail) for line in histories.history(order.pk).lines
    ]


def test_no_run_is_asked_what_each_of_its_payloads_belongs_to(
    place: PlaceOrder, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Mock(return_value=None)
    monkeypatch.setattr("temporalio.worker.workflow_sandbox._runner._Instance.get_serialization_context", asked)

    wait_for_status(place(lines=[NewLine("LAMP", 1, 20_000)]), "completed")

    asked.assert_not_called()


@pytest.mark.parametrize("providers", [{"2026": OLD}], indirect=True, ids=["rotated"])
def test_an_order_whose_key_is_missing_stands_still_and_goes_on_when_it_is_back(
    place: PlaceOrder, engine: Engine, settings: Settings, as_alice: Actor
) -> None:
    order = place()
    wait_for_status(order, "in_review")
    engine.stop()

    with _engine_with(settings, {}):
        reviewing.approve(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
        said: list[str] = []
        while not any("TEMPORAL_PAYLOAD_KEYS has no key '2026'" in line for line in said):
            said = [line.detail for line in histories.history(order.pk).lines]
    with _engine_with(settings, {"2027": NEW, "2026": OLD}):
        wait_for_status(order, "completed")


@contextmanager
def _engine_with(settings: Settings, keys: dict[str, bytes]) -> Iterator[None]:
    settings.TEMPORAL_PAYLOAD_KEYS = keys
    engine = Engine()
    engine.start()
    try:
        yield
    finally:
        engine.stop()


async def test_each_payload_has_a_nonce_of_its_own_and_comes_back_whole() -> None:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b'"Ann Lee"')
    codec = Encryption({"new": NEW, "old": OLD})

    one, two = await codec.encode([payload, payload])

    assert one.data != two.data
    assert b"Ann Lee" not in one.SerializeToString()
    assert dict(one.metadata) == {"encoding": b"binary/encrypted", "encryption-key-id": b"new"}
    assert await codec.decode([one, two]) == [payload, payload]


async def test_old_keys_and_no_key_decrypt_what_was_sent_before() -> None:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b"1")
    before = await Encryption({"old": OLD}).encode([payload])
    rotated = Encryption({"new": NEW, "old": OLD})

    assert await rotated.decode([*before, payload]) == [payload, payload]
    with pytest.raises(CannotDecrypt, match="TEMPORAL_PAYLOAD_KEYS has no key 'old'"):
        await Encryption({"new": NEW}).decode(before)
    with pytest.raises(CannotDecrypt, match="not encrypted with key 'old' of TEMPORAL_PAYLOAD_KEYS"):
        await Encryption({"old": NEW}).decode(before)
    renamed = Payload(metadata={**before[0].metadata, "encryption-key-id": b"new"}, data=before[0].data)
    with pytest.raises(CannotDecrypt):
        await Encryption({"new": OLD}).decode([renamed])


async def test_what_went_wrong_is_encrypted_and_the_desk_still_reads_it(settings: Settings) -> None:
    settings.TEMPORAL_PAYLOAD_KEYS = {"new": NEW}
    by, failure = encrypting.converter(), Failure()
    error = ApplicationError("Activity failed")
    error.__cause__ = ApplicationError("No parcel for Ann Lee.", type="Refused")

    await by.encode_failure(error, failure)

    assert b"Ann Lee" not in failure.SerializeToString()
    without_key = Failure.FromString(failure.SerializeToString())
    await encrypting.reveal(failure, by)
    assert (failure.message, histories._said(failure)) == ("Activity failed", "No parcel for Ann Lee.")
    settings.TEMPORAL_PAYLOAD_KEYS = {"old": OLD}
    await encrypting.reveal(without_key, encrypting.converter())
    assert "TEMPORAL_PAYLOAD_KEYS has no key 'new'" in histories._said(without_key)


def test_keys_are_read_with_their_names_and_refused_without_quoting_them(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = b64encode(OLD).decode(), b64encode(NEW).decode()
    monkeypatch.setenv("TEMPORAL_PAYLOAD_KEYS", f"new:{new}, old:{old}")
    assert list(env_keys("TEMPORAL_PAYLOAD_KEYS").items()) == [("new", NEW), ("old", OLD)]

    for wrong, told in (
        (new, "have 32 bytes|be names with keys"),
        ("new:c2hvcnQ=", "must have 32 bytes in base64"),
        ("new:", "must be names with keys"),
        (f"new:{new},new:{old}", "has two keys called 'new'"),
    ):
        monkeypatch.setenv("TEMPORAL_PAYLOAD_KEYS", wrong)
        with pytest.raises(ImproperlyConfigured, match=f"TEMPORAL_PAYLOAD_KEYS .*({told})") as refused:
            env_keys("TEMPORAL_PAYLOAD_KEYS")
        assert new not in str(refused.value)


async def test_without_keys_all_goes_as_it_is_and_what_is_encrypted_is_refused(settings: Settings) -> None:
    assert settings.TEMPORAL_PAYLOAD_KEYS == {}
    codec, failure = encrypting.converter().payload_codec, Failure()
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b"1")
    assert codec

    await encrypting.converter().encode_failure(ApplicationError("Out of paper"), failure)

    assert await codec.encode([payload]) == [payload]
    assert failure.message == "Out of paper"
    with pytest.raises(CannotDecrypt, match="TEMPORAL_PAYLOAD_KEYS has no key 'new'"):
        await codec.decode(await Encryption({"new": NEW}).encode([payload]))
