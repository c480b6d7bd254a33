"""The web's entry point, for gunicorn's `asgi` worker."""

import gc
import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.utils.module_loading import import_string

from orders import tracing
from orders_site.bodies import BoundedBodies

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orders_site.settings")
os.environ.setdefault("DATABASE_POOL", "1")

application = BoundedBodies(get_asgi_application(), most=settings.DATA_UPLOAD_MAX_MEMORY_SIZE)

tracing.begin("countersign-web")
import_string(settings.ORDER_RUNS)  # now, so that no page waits for it

# What was made until here stays: looking through it for garbage would hold some requests up by tens of milliseconds.
gc.collect()
gc.freeze()
