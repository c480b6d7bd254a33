"""What goes to Temporal, encrypted on the way where TEMPORAL_PAYLOAD_KEYS has keys: AES-GCM, a fresh nonce each.

The first key encrypts, all decrypt; a payload names its own. What was sent in the clear, by hand or before there were
keys, is read as it is.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

ENCODING, KEY = "encoding", "encryption-key-id"  # in a payload's metadata, which is in the clear
ENCRYPTED = b"binary/encrypted"
NONCE_BYTES = 12


class CannotDecrypt(ValueError):
    """The payload's key is not there, or does not fit it. The message names the setting."""


class Encryption(PayloadCodec):
    """Whole payloads, their metadata too; the key's name is bound to them. Without keys they go as they are."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = {name.encode(): AESGCM(key) for name, key in keys.items()}
        self._first = next(iter(self._ciphers), b"")

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypt(payload) for payload in payloads] if self._ciphers else list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises CannotDecrypt."""
        return [self._decrypt(payload) for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        nonce = os.urandom(NONCE_BYTES)
        hidden = self._ciphers[self._first].encrypt(nonce, payload.SerializeToString(), self._first)
        return Payload(metadata={ENCODING: ENCRYPTED, KEY: self._first}, data=nonce + hidden)

    def _decrypt(self, payload: Payload) -> Payload:
        if payload.metadata.get(ENCODING) != ENCRYPTED:
            return payload
        name = payload.metadata.get(KEY, b"")
        shown = name.decode(errors="replace")
        if name not in self._ciphers:
            raise CannotDecrypt(f"TEMPORAL_PAYLOAD_KEYS has no key {shown!r}, with which this was encrypted.")
        nonce, hidden = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(self._ciphers[name].decrypt(nonce, hidden, name))
        except (InvalidTag, ValueError):
            raise CannotDecrypt(f"This was not encrypted with key {shown!r} of TEMPORAL_PAYLOAD_KEYS.") from None


def converter() -> DataConverter:
    """For every client. With keys, failures' messages and traces are encrypted as payloads are.

    Without keys there is a codec all the same: it refuses what is encrypted, and the run stands still until the keys
    are back. The workflow itself would drop a signal that it cannot read.
    """
    keys = settings.TEMPORAL_PAYLOAD_KEYS
    encryption = replace(DataConverter.default, payload_codec=Encryption(keys))
    return (
        replace(encryption, failure_converter_class=DefaultFailureConverterWithEncodedAttributes)
        if keys
        else encryption
    )


async def reveal(failure: Failure, by: DataConverter) -> None:
    """Put the messages of a failure and of its causes back where they were before they were encrypted.

    One that cannot be decrypted says so itself.
    """
    if by.payload_codec is None:
        return
    told: Failure | None = failure
    while told is not None:
        if told.HasField("encoded_attributes"):
            try:
                (hidden,) = await by.payload_codec.decode([told.encoded_attributes])
                told.message = str(json.loads(hidden.data).get("message", ""))
            except (ValueError, AttributeError) as unreadable:
                told.message = str(unreadable)
        told = told.cause if told.HasField("cause") else None
