"""The web's entry point, for gunicorn's `asgi` worker."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orders_site.settings")
os.environ.setdefault("DATABASE_POOL", "1")

application = get_asgi_application()
