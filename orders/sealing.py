"""What only the desk reads again, encrypted at rest by keys made of DJANGO_SECRET_KEY: AES-GCM, a fresh nonce each.

The first key seals; those of DJANGO_SECRET_KEY_FALLBACKS open too.
"""

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

NONCE_BYTES = 12


class CannotUnseal(ValueError):
    """It was sealed by a key that is there no longer, or for something else. The message names the setting."""


def seal(plain: bytes, *, of: str) -> bytes:
    """Encrypted so that it is opened as that `of` the same thing only."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _ciphers()[0].encrypt(nonce, plain, of.encode())


def unseal(sealed: bytes, *, of: str) -> bytes:
    """Raises CannotUnseal."""
    nonce, hidden = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    for cipher in _ciphers():
        try:
            return cipher.decrypt(nonce, hidden, of.encode())
        except (InvalidTag, ValueError):
            continue
    raise CannotUnseal(f"What was sealed of {of} was sealed by none of DJANGO_SECRET_KEY and its fallbacks.")


def _ciphers() -> Sequence[AESGCM]:
    secrets: list[str] = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [AESGCM(HKDF(SHA256(), 32, salt=None, info=b"sealing").derive(secret.encode())) for secret in secrets]
