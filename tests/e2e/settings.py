"""Settings of the desk that browsers visit: a good hash takes a third of a second, and people sign in all the time."""

from orders_site.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
