"""How often a password may be guessed: so many failed tries of one name from one address, and more from the address
with whatever names. Never of a name alone, or anybody could keep anybody else out.

A try counts from its beginning until it has succeeded, so that many at once are no more than many in a row.
"""

import hashlib
from datetime import datetime
from ipaddress import IPv6Address, ip_address

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet

from orders.models import SignInTry


class TooManyTries(Exception):
    """No password is looked at before `again_at`."""

    def __init__(self, again_at: datetime) -> None:
        super().__init__("Too many tries to sign in failed.")
        self.again_at = again_at


def begin(*, name: str, address: str, at: datetime) -> None:
    """Count a try; what is older than SIGN_IN_TRIES_WITHIN is forgotten.

    Raises TooManyTries, and counts nothing then.
    """
    oldest, network = at - settings.SIGN_IN_TRIES_WITHIN, network_of(address)
    with transaction.atomic():
        with connection.cursor() as cursor:  # one after the other, so that none is overlooked
            # raw SQL: an advisory lock
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"sign in from {network}"])
        tries = SignInTry.objects.filter(network=network, at__gt=oldest)
        again_at = [
            at_earliest + settings.SIGN_IN_TRIES_WITHIN
            for counted, most in (
                (tries.filter(name_hash=_hash(name)), settings.SIGN_IN_TRIES),
                (tries, settings.SIGN_IN_TRIES_OF_ADDRESS),
            )
            if (at_earliest := _when_there_were(most, counted))
        ]
        if again_at:
            raise TooManyTries(max(again_at))
        SignInTry.objects.filter(at__lte=oldest).delete()
        SignInTry.objects.create(name_hash=_hash(name), network=network, at=at)


def succeed(*, name: str, address: str) -> None:
    """Forget what failed before under this name; who knows one password does not guess more of others for it."""
    SignInTry.objects.filter(network=network_of(address), name_hash=_hash(name)).delete()


def network_of(address: str) -> str:
    """What one customer of a network has: an address, or of the longer ones the first half."""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and not parsed.ipv4_mapped:
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _when_there_were(most: int, tries: "QuerySet[SignInTry]") -> datetime | None:
    return tries.order_by("-at").values_list("at", flat=True)[most - 1 : most].first()


def _hash(name: str) -> str:
    """Not the name itself: some type their password there."""
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
