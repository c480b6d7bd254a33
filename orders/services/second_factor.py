"""The second factor of who leads or keeps records: a code that an app makes of a secret and the time (TOTP, RFC 6238),
each taken once, or one of a few recovery codes. A session has shown it while the factor it was shown for is there.
"""

import hashlib
import logging
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db import transaction
from django.utils.crypto import get_random_string

from orders.accounts import PASSWORD_ALPHABET
from orders.models import AccountEvent, SecondFactor
from orders.roles import DECIDE_ESCALATED
from orders.sealing import CannotUnseal, seal, unseal
from orders.services.actors import Actor, NotPermitted
from orders.services.texts import wrong_with_text

logger = logging.getLogger(__name__)

PERIOD, DIGITS, SECRET_BYTES = 30, 6, 20  # seconds; what every app takes
CLOCKS_DIFFER = (0, -1, 1)  # periods
RECOVERY_CODES, GROUPS, GROUP = 8, 4, 4
LONGEST_REASON = 200
KEEP_ACCOUNTS = "auth.change_user"
SHOWN = "second_factor"  # in a session: which factor it has shown


class WrongCode(Exception):
    """It is no code of this moment, or was taken before."""


class ResetRefused(Exception):
    """The second factor stays. The message is for who asked."""


def is_asked_of(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Of leads, of admins, and of whoever else sees the raw records."""
    return settings.SECOND_FACTOR and isinstance(user, User) and (user.is_staff or user.has_perm(DECIDE_ESCALATED))


def is_shown(user: AbstractBaseUser | AnonymousUser, session: Mapping[str, Any]) -> bool:
    """Whether the session has shown what is asked of its user."""
    return not is_asked_of(user) or SecondFactor.objects.filter(pk=session.get(SHOWN, 0), user_id=user.pk or 0).exists()


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def provisioning_uri(secret: bytes, name: str) -> str:
    """What the QR code says to the app."""
    return _totp(secret).get_provisioning_uri(name, "Countersign")


def set_up(*, user: User, secret: bytes, code: str, at: datetime) -> tuple[SecondFactor, list[str]]:
    """Have codes of this secret asked for from now on; `code` shows that the app makes them.

    The recovery codes are told this once. Raises WrongCode, also where there is a second factor already.
    """
    step = _step(secret, code, at, after=0)
    if step is None:
        raise WrongCode
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if SecondFactor.objects.filter(user=user).exists():
            raise WrongCode
        factor = SecondFactor.objects.create(
            user=user,
            secret=seal(secret, of=_owner(user)),
            last_step=step,
            recovery_hashes=[_hash(each) for each in codes],
            set_up_at=at,
        )
        _note(user, AccountEvent.Type.SET_UP, actor=Actor.operator(user), at=at)
    return factor, codes


def check(*, user: User, code: str, at: datetime) -> SecondFactor:
    """Take a code of the app, or a recovery code, which is used up by it.

    A secret that an older key has sealed is sealed anew. Raises WrongCode.
    """
    with transaction.atomic():
        factor = SecondFactor.objects.select_for_update().filter(user=user).first()
        if factor is None:
            raise WrongCode
        if step := _step_of(factor, code, at):
            secret = unseal(bytes(factor.secret), of=_owner(user))
            factor.last_step, factor.secret = step, seal(secret, of=_owner(user))
            factor.save(update_fields=["last_step", "secret"])
            return factor
        _use_up(factor, code)
        _note(user, AccountEvent.Type.RECOVERED, actor=Actor.operator(user), at=at)
        return factor


def reset_own(*, user: User, code: str, at: datetime) -> None:
    """Give up one's own second factor for a recovery code: all its sessions end, and the next sign-in sets one up.

    Raises WrongCode; a code of the app is none here.
    """
    with transaction.atomic():
        factor = SecondFactor.objects.select_for_update().filter(user=user).first()
        if factor is None:
            raise WrongCode
        _use_up(factor, code)
        factor.delete()
        _note(user, AccountEvent.Type.RESET, actor=Actor.operator(user), at=at, reason="By a recovery code")


def reset(*, user: User, reason: str, actor: Actor, at: datetime) -> None:
    """Take somebody's second factor away: all their sessions end, and their next sign-in sets one up.

    Raises NotPermitted, and ResetRefused where it is one's own, there is none, or the reason is no reason.
    """
    if actor.user is not None:
        above = user.is_superuser and not actor.user.is_superuser
        if above or not actor.has(KEEP_ACCOUNTS):
            raise NotPermitted(f"{actor.name} may not reset the second factor of {user.get_username()}.")
        if actor.user.pk == user.pk:
            raise ResetRefused("Your own you set up anew under Mine, with a recovery code.")
    reason = reason.strip()
    if not reason:
        raise ResetRefused("Say why.")
    if wrong := wrong_with_text(reason, LONGEST_REASON):
        raise ResetRefused(f"The reason {wrong}.")
    with transaction.atomic():
        deleted, _ = SecondFactor.objects.filter(user=user).delete()
        if not deleted:
            raise ResetRefused(f"{user.get_username()} has no second factor. The next sign-in sets one up.")
        _note(user, AccountEvent.Type.RESET, actor=actor, at=at, reason=reason)


def _note(user: User, type_: AccountEvent.Type, *, actor: Actor, at: datetime, reason: str = "") -> None:
    AccountEvent.objects.create(account=user, type=type_, actor=actor.name[:150], user=actor.user, reason=reason, at=at)


def _recovery_code() -> str:
    return "-".join(get_random_string(GROUP, PASSWORD_ALPHABET) for _ in range(GROUPS))


def _use_up(factor: SecondFactor, code: str) -> None:
    """Raises WrongCode."""
    given = _hash(code)
    left = [each for each in factor.recovery_hashes if not bytes_eq(each.encode(), given.encode())]
    if len(left) == len(factor.recovery_hashes):
        raise WrongCode
    factor.recovery_hashes = left
    factor.save(update_fields=["recovery_hashes"])


def _step_of(factor: SecondFactor, code: str, at: datetime) -> int | None:
    try:
        secret = unseal(bytes(factor.secret), of=_owner(factor.user))
    except CannotUnseal as lost:
        logger.error("%s A recovery code or a reset by an admin helps.", lost)
        return None
    return _step(secret, code, at, after=factor.last_step)


def _step(secret: bytes, code: str, at: datetime, *, after: int) -> int | None:
    """Which period's code it is, of those close by that are later than `after`."""
    given = "".join(code.split()).encode("utf-8", "replace")
    now = int(at.timestamp()) // PERIOD
    steps = (now + differ for differ in CLOCKS_DIFFER)
    return next((s for s in steps if s > after and bytes_eq(_totp(secret).generate(s * PERIOD), given)), None)


def _totp(secret: bytes) -> TOTP:
    # SHA-1 is what the apps know; nothing is signed by it.
    return TOTP(secret, DIGITS, SHA1(), PERIOD)  # noqa: S303  # nosec B303


def _owner(user: User) -> str:
    return f"second factor of {user.pk}"


def _hash(code: str) -> str:
    """Of 79 random bits each: a slow hash would guard nothing more."""
    plain = "".join(code.split()).replace("-", "").lower()
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()
