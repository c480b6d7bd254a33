"""The web server: one `asgi` process serves pages and streams alike."""

import os
import signal
from typing import Any

wsgi_app = "orders_site.asgi:application"
bind = os.environ.get("WEB_BIND", "127.0.0.1:8000")
worker_class = "asgi"
asgi_lifespan = "off"
keepalive = 5
graceful_timeout = 5  # streams end at once, and pages take milliseconds
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")


def post_worker_init(worker: Any) -> None:
    """Close the live streams first: the worker waits for every open connection before it stops."""
    from orders import live

    def stop() -> None:
        live.end_all_streams()
        worker.handle_exit_signal()

    worker.loop.add_signal_handler(signal.SIGTERM, stop)
