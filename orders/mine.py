"""What belongs to one person at the desk: preferences, and the orders that are theirs. Reads only."""

from django.contrib.auth.models import User

from orders import conventions
from orders.conventions import Conventions
from orders.models import Preferences


def preferred(user: User) -> Conventions:
    """How this person is shown instants and amounts: as they prefer, else as the desk does."""
    found = Preferences.objects.filter(user=user).first()
    if found is None or not conventions.is_zone(found.zone):
        return conventions.of_the_desk()
    return Conventions(found.zone, found.locale)
