"""Settings of the desk that browsers visit: a good hash takes a third of a second, and people sign in all the time."""

import sys

from orders_site.settings import *  # noqa: F403

sys.modules["opentelemetry"] = None  # type: ignore[assignment]  # without an endpoint, who imports it fails

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
