"""What each process of the desk holds when half of many orders are done, and when all are: it is not to grow."""

import http.client
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle
from threading import Event, Thread
from uuid import UUID

import psutil
from django.urls import reverse

from orders.accounts import create_bench_operator
from orders.models import Order
from orders.states import Status
from tests.bench.lifecycle import POLL, place
from tests.bench.servers import Servers
from tests.bench.table import Found, Row, at_most, explained
from tests.bench.web import cookie_of, running_web

AT_ONCE = 50  # orders in flight
CALM = 10.0  # seconds between the last order's end and the look
BREATH = 1.02  # an allocator's: what does not grow varies by as much
OURS = ("the web server", "the orders worker", "the shipping worker")
TELL = 10  # times on the way, so that a curve is seen


def measure(servers: Servers, tell: Callable[[str], None], *, count: int) -> Found:
    """While orders go through, somebody has a stream open and asks for a page for each of them.

    What a process holds goes up and down: the least of three looks counts, on which a leak would show all the same.
    """
    with _desk(servers) as (processes, look):
        held = [_held(processes)]
        for part in range(1, TELL + 1):
            _carry(count * part // TELL - count * (part - 1) // TELL, look)
            time.sleep(CALM)
            held.append(_held(processes))
            figures = ", ".join(f"{name} {mib:.1f}" for name, mib in held[-1].items())
            tell(f"{count * part // TELL:,} orders, MiB: {figures}")
    rows = []
    for name in held[0]:
        before, end = (min(figures[name] for figures in some) for some in (held[-6:-3], held[-3:]))
        what, against = f"Memory of {name}, the least at 80 to 100 % of {count:,} orders", "at 50 to 70 %"
        if name in OURS:
            rows.append(at_most(BREATH, what=what, ours=end, against=against, theirs=before, unit="MiB"))
        else:
            rows.append(Row(what, end, against, before, "MiB"))
    lines = {f"{count * part // TELL:,} orders": list(figures.values()) for part, figures in enumerate(held)}
    return Found(rows, explained("Memory on the way", list(held[0]), lines, "MiB"))


@contextmanager
def _desk(servers: Servers) -> Iterator[tuple[Mapping[str, psutil.Process], Callable[[UUID], None]]]:
    """The processes as `make up` starts them, and who looks at them."""
    workers = {f"the {role} worker": ["manage.py", "runworker", role] for role in ("orders", "shipping")}
    with ExitStack() as stack:
        web = stack.enter_context(running_web(servers))
        processes = {"the web server": web.process}
        for name, command in workers.items():
            processes[name] = stack.enter_context(servers.running(command, servers.environment))
        headers = {"Cookie": cookie_of(create_bench_operator())}
        ended = Event()
        stack.callback(ended.set)
        Thread(target=_watch, args=(web.port, headers, ended), daemon=True).start()
        lists = cycle([reverse("orders:queue"), reverse("orders:orders"), ""])

        def look(order: UUID) -> None:
            path = next(lists) or reverse("orders:order", args=[order])
            asking = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
            asking.request("GET", path, headers=headers)
            answer = asking.getresponse()
            answer.read()
            asking.close()
            if answer.status != 200:
                raise RuntimeError(f"{path} answers with {answer.status}")

        yield processes | servers.processes, look


def _watch(port: int, headers: Mapping[str, str], ended: Event) -> None:
    """An open page: it opens its stream again when that ends."""
    while not ended.is_set():
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/live/", headers=dict(headers))
            for _ in connection.getresponse():
                pass


def _carry(count: int, look: Callable[[UUID], None]) -> None:
    """So many orders to their ends."""
    placed, in_flight = 0, set[UUID]()
    while placed < count or in_flight:
        new = place(min(AT_ONCE - len(in_flight), count - placed))
        placed += len(new)
        in_flight |= set(new)
        for order in new:
            look(order)
        in_flight -= set(Order.objects.filter(pk__in=in_flight, status=Status.COMPLETED).values_list("pk", flat=True))
        time.sleep(POLL)


def _held(processes: Mapping[str, psutil.Process]) -> Mapping[str, float]:
    """MiB of each with its children, without what they share with other processes."""
    return {
        name: sum(one.memory_full_info().uss for one in (process, *process.children(recursive=True))) / 2**20
        for name, process in processes.items()
    }
