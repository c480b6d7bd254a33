"""The web server: one `asgi` process serves pages and streams alike."""

import os
import signal
import warnings
from typing import Any

wsgi_app = "orders_site.asgi:application"
bind = os.environ.get("WEB_BIND", "127.0.0.1:8000")
worker_class = "asgi"
asgi_lifespan = "off"
control_socket_disable = True  # it would lie in the home folder, shared by every desk of this user
keepalive = 5
graceful_timeout = 2  # streams end at once, pages take milliseconds; browsers keep idle connections open
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")


# In development WhiteNoise hands out files in pieces of its own, and Django says so for each of them.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")


def post_worker_init(worker: Any) -> None:
    """Close the live streams first: the worker waits for every open connection before it stops."""
    from orders import live

    def stop() -> None:
        live.end_all_streams()
        worker.handle_exit_signal()

    worker.loop.add_signal_handler(signal.SIGTERM, stop)
