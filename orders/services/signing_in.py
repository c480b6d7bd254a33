"""How often a password may be guessed: so many failed tries of one name from one address, and more from the address
with whatever names. Never of a name alone, or anybody could keep anybody else out. A code of the second factor is
guessed by who knows the password: there it is of the name alone.

A try counts from its beginning until it has succeeded, so that many at once are no more than many in a row.
"""

import hashlib
from datetime import datetime
from ipaddress import IPv6Address, ip_address

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils.crypto import salted_hmac

from orders.models import SignInTry


class TooManyTries(Exception):
    """No password or code is looked at before `again_at`."""

    def __init__(self, again_at: datetime) -> None:
        super().__init__("Too many tries to sign in failed.")
        self.again_at = again_at


def begin(*, name: str, address: str, at: datetime, code: bool = False) -> None:
    """Count a try, of a password or of a `code`; what is older than SIGN_IN_TRIES_WITHIN is forgotten.

    Raises TooManyTries, and counts nothing then.
    """
    oldest, network, name_hash = at - settings.SIGN_IN_TRIES_WITHIN, network_of(address), _hash(name, code)
    with transaction.atomic():
        _one_at_a_time(f"sign in from {network}", *([f"code of {name_hash}"] if code else []))
        tries = SignInTry.objects.filter(at__gt=oldest)
        of_name, of_address = tries.filter(name_hash=name_hash), tries.filter(network=network)
        again_at = [
            at_earliest + settings.SIGN_IN_TRIES_WITHIN
            for counted, most in (
                (of_name if code else of_address.filter(name_hash=name_hash), settings.SIGN_IN_TRIES),
                (of_address, settings.SIGN_IN_TRIES_OF_ADDRESS),
            )
            if (at_earliest := _when_there_were(most, counted))
        ]
        if again_at:
            raise TooManyTries(max(again_at))
        SignInTry.objects.filter(at__lte=oldest).delete()
        SignInTry.objects.create(name_hash=name_hash, network=network, at=at)


def succeed(*, name: str, address: str, code: bool = False) -> None:
    """Forget what failed before under this name; who knows one password does not guess more of others for it."""
    of_name = SignInTry.objects.filter(name_hash=_hash(name, code))
    (of_name if code else of_name.filter(network=network_of(address))).delete()


def network_of(address: str) -> str:
    """What one customer of a network has: an address, or of the longer ones the first half."""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and not parsed.ipv4_mapped:
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _one_at_a_time(*what: str) -> None:
    """One after the other, so that no try is overlooked."""
    with connection.cursor() as cursor:
        for each in what:
            # raw SQL: an advisory lock
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [each])


def _when_there_were(most: int, tries: "QuerySet[SignInTry]") -> datetime | None:
    return tries.order_by("-at").values_list("at", flat=True)[most - 1 : most].first()


def _hash(name: str, code: bool) -> str:
    """Not the name itself: some type their password there. What is no code cannot be typed to count as one."""
    if code:
        return salted_hmac("code of the second factor", name, algorithm="sha256").hexdigest()
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
