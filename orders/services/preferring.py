"""What people want for themselves: in which zone they are shown instants, and how amounts are written."""

from django.contrib.auth.models import User

from orders import conventions
from orders.models import Preferences


class UnknownConvention(ValueError):
    """There is no such zone, or no such locale. `field` names which."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def prefer(*, user: User, zone: str, locale: str) -> Preferences:
    """Keep what this person prefers.

    Raises UnknownConvention.
    """
    if not conventions.is_zone(zone):
        raise UnknownConvention("zone", "Choose a time zone from the list.")
    if locale not in conventions.locales():
        raise UnknownConvention("locale", "Choose a way of writing amounts from the list.")
    preferences, _ = Preferences.objects.update_or_create(user=user, defaults={"zone": zone, "locale": locale})
    return preferences
