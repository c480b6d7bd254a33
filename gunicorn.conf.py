"""The web server: one `asgi` process serves pages and streams alike."""

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
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


figures = None  # the folder where each of several processes writes its own, so that each can tell those of all
if int(os.environ.get("WEB_CONCURRENCY", "1")) > 1:
    figures = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="countersign-figures-")


def on_exit(_: Any) -> None:
    if figures:
        shutil.rmtree(figures, ignore_errors=True)


def child_exit(_: Any, worker: Any) -> None:
    if figures:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


# In development WhiteNoise hands out files in pieces of its own, and Django says so for each of them.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")


def on_starting(_: Any) -> None:
    """Say in one sentence what is missing, before anything listens.

    In a process of its own: the workers are to load the settings themselves, as the application tells them to.
    """
    check = multiprocessing.get_context("fork").Process(target=_check)
    check.start()
    check.join()
    if check.exitcode != 0:
        sys.exit(1)


def _check() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orders_site.settings")
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    try:
        collected = settings.DEBUG or (settings.STATIC_ROOT / "staticfiles.json").exists()
    except ImproperlyConfigured as problem:
        sys.exit(str(problem))
    if not collected:
        sys.exit(
            f"The pages' static files are not in {settings.STATIC_ROOT}: "
            "run `python manage.py collectstatic --no-input`."
        )


def post_worker_init(worker: Any) -> None:
    """Close the live streams first: the worker waits for every open connection before it stops."""
    from orders import live

    def stop() -> None:
        live.end_all_streams()
        worker.handle_exit_signal()

    worker.loop.add_signal_handler(signal.SIGTERM, stop)


def worker_exit(_: Any, __: Any) -> None:
    from orders import tracing

    tracing.end()
