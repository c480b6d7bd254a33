"""What strikes the desk, and when: drawn from a seed before anything runs, so that it strikes the same way again."""

import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field

import psutil
import psycopg

from tests.chaos.desk import WEBS, WORKERS, Desk
from tests.chaos.worker import RELAY

STEPS = {
    "orders": (
        "receive_order",
        "validate_order",
        "settle_review",
        "reserve_stock",
        "begin_charge",
        "charge_payment",
        "record_charge",
        "complete_order",
        "begin_refund",
        "refund_payment",
        "record_refund",
        "release_stock",
    ),
    "shipping": (
        "begin_package",
        "prepare_package",
        "record_package",
        "begin_dispatch",
        "dispatch_parcel",
        "record_dispatch",
    ),
}
PATIENCE = 30.0  # seconds until a step at which a worker is to die has come, or what is to be struck is there


# Only what is new finds no room, or PostgreSQL's log does not either, for which it crashes.
FILL, DISK, DISK_AND_LOG = "fill", "PostgreSQL's disk", "PostgreSQL's disk and log"


@dataclass(frozen=True)
class Strike:
    """`at` is in seconds from the first order, `lasts` how long what was stopped or taken stays so."""

    at: float
    kind: str
    target: str = ""
    place: str = ""
    lasts: float = 0.0

    def __str__(self) -> str:
        rest = " ".join(filter(None, (self.target, self.place)))
        return f"{self.at:6.1f} s  {self.kind} {rest}".rstrip() + (f" for {self.lasts:.0f} s" if self.lasts else "")

    @property
    def sort(self) -> str:
        """What the verdict counts it as."""
        what = "worker" if self.target in WORKERS else "web" if self.target in WEBS else self.target
        return f"{self.kind} {what}" + (" in the relay" if self.place == RELAY else " at a step" if self.place else "")


def schedule(seed: int, *, seconds: float, many: int) -> list[Strike]:
    """So many strikes spread over the time, every kind before any comes again."""
    chance = random.Random(seed)  # noqa: S311 - to be the same again
    kinds: list[Callable[[float, random.Random], Strike]] = []
    strikes = []
    for number in range(many):
        if not kinds:
            kinds = list(KINDS)
            chance.shuffle(kinds)
        at = seconds * (number + chance.random()) / many
        strikes.append(kinds.pop()(at, chance))
    return strikes


def _kill_worker(at: float, chance: random.Random) -> Strike:
    return Strike(at, "kill -9", chance.choice(sorted(WORKERS)))


def _kill_at_step(at: float, chance: random.Random) -> Strike:
    worker = chance.choice(sorted(WORKERS))
    step = chance.choice(STEPS[WORKERS[worker]])
    return Strike(at, "kill -9", worker, f"{chance.choice(['before', 'after'])} {step}")


def _kill_relay(at: float, chance: random.Random) -> Strike:
    return Strike(at, "kill -9", chance.choice(sorted(WORKERS)), RELAY)


def _kill_web(at: float, chance: random.Random) -> Strike:
    return Strike(at, "kill -9", chance.choice(WEBS))


def _drain(at: float, chance: random.Random) -> Strike:
    return Strike(at, "SIGTERM", chance.choice(sorted(WORKERS)))


def _freeze(at: float, chance: random.Random) -> Strike:
    return Strike(at, "SIGSTOP", chance.choice([*sorted(WORKERS), *WEBS]), lasts=20)


def _crash_postgres(at: float, chance: random.Random) -> Strike:
    return Strike(at, "kill -9", "PostgreSQL")


def _crash_temporal(at: float, chance: random.Random) -> Strike:
    return Strike(at, "kill -9", "Temporal", lasts=chance.uniform(1, 6))


def _cut_connections(at: float, chance: random.Random) -> Strike:
    return Strike(at, "cut", "every connection")


def _take_connections(at: float, chance: random.Random) -> Strike:
    return Strike(at, "take", "every connection", lasts=5)


def _fill_disk(at: float, chance: random.Random) -> Strike:
    return Strike(at, FILL, chance.choice([DISK, DISK_AND_LOG]), lasts=chance.uniform(4, 8))


def _slow_bank(at: float, chance: random.Random) -> Strike:
    return Strike(at, "hold up", chance.choice(["bank", "carrier"]), lasts=chance.uniform(3, 8))


def _repeat_news(at: float, chance: random.Random) -> Strike:
    return Strike(at, "repeat", "messages")


KINDS = (
    _kill_worker,
    _kill_at_step,
    _kill_at_step,
    _kill_at_step,
    _kill_relay,
    _kill_web,
    _drain,
    _freeze,
    _crash_postgres,
    _crash_temporal,
    _cut_connections,
    _take_connections,
    _fill_disk,
    _slow_bank,
    _repeat_news,
)


@dataclass
class Striker:
    """Strikes a desk as planned, each strike in a thread of its own: some last for long."""

    desk: Desk
    tell: Callable[[str], None]
    repeat_news: Callable[[], int]  # how many messages
    struck: list[Strike] = field(default_factory=list)
    missed: list[Strike] = field(default_factory=list)  # what was to be struck did not come in time
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._servers = threading.Lock()  # one server's crash at a time
        self._turns = {worker: threading.Lock() for worker in WORKERS}  # to be told where to die
        self._begun = time.monotonic()

    def strike_all(self, strikes: list[Strike]) -> None:
        """Return when the last of them is over."""
        self._begun = time.monotonic()
        threads = []
        for strike in strikes:
            time.sleep(max(0.0, self._begun + strike.at - time.monotonic()))
            threads.append(threading.Thread(target=self._strike, args=[strike], name=str(strike)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _strike(self, strike: Strike) -> None:
        """Insist where another strike has taken away what this one is to strike."""
        self.tell(str(strike))
        until = time.monotonic() + PATIENCE
        while True:
            try:
                (self.struck if self._carry_out(strike) else self.missed).append(strike)
                return
            except Exception as error:  # noqa: BLE001 - a strike that fails is told with the verdict
                if time.monotonic() > until:
                    self.errors.append(f"{strike}: {type(error).__name__}: {error}")
                    return
            time.sleep(0.2)

    def _carry_out(self, strike: Strike) -> bool:
        """Whether it has struck anything."""
        if strike.place:
            return self._die_at(strike.target, strike.place)
        deeds: dict[str, Callable[[Strike], bool]] = {
            "kill -9": self._kill,
            "SIGTERM": lambda strike: self._signal(strike.target, signal.SIGTERM),
            "SIGSTOP": self._freeze,
            "cut": lambda _: self._cut_connections(),
            "take": lambda strike: self._take_connections(strike.lasts),
            FILL: self._fill_disk,
            "hold up": lambda strike: self._hold(strike.target, strike.lasts),
            "repeat": lambda _: self._repeat(),
        }
        return deeds[strike.kind](strike)

    def _signal(self, name: str, number: int) -> bool:
        self.desk.services[name].signal(number)
        return True

    def _kill(self, strike: Strike) -> bool:
        if strike.target in self.desk.services:
            return self._signal(strike.target, signal.SIGKILL)
        with self._servers:
            if strike.target == "PostgreSQL":
                self.desk.crash_postgres()
            else:
                self.desk.crash_temporal(strike.lasts)
        return True

    def _freeze(self, strike: Strike) -> bool:
        self.desk.services[strike.target].signal(signal.SIGSTOP)
        time.sleep(strike.lasts)
        with suppress(psutil.NoSuchProcess):  # it was killed meanwhile
            self.desk.services[strike.target].signal(signal.SIGCONT)
        return True

    def _die_at(self, worker: str, place: str) -> bool:
        told = self.desk.dies_at(worker)
        with self._turns[worker]:
            told.write_text(place)
            until = time.monotonic() + PATIENCE
            while told.exists():
                if time.monotonic() > until:
                    told.unlink(missing_ok=True)
                    return False
                time.sleep(0.1)
        return True

    def _database(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.desk.postgres.url, autocommit=True)

    def _cut_connections(self) -> bool:
        with self._servers, self._database() as database:
            cut = database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        return cut.rowcount > 0

    def _take_connections(self, seconds: float) -> bool:
        """All that are left, those for superusers too, and each that somebody gives back meanwhile."""
        until, are_all = time.monotonic() + seconds, False
        with self._servers, ExitStack() as taken:
            while time.monotonic() < until:
                try:
                    taken.enter_context(self._database())
                except psycopg.OperationalError:
                    are_all = True
                    time.sleep(0.05)
        return are_all

    def _fill_disk(self, strike: Strike) -> bool:
        """Whether something found no room."""
        before = self.desk.full_disk_complaints()
        with self._servers:
            for _ in self.desk.fill_disk(strike.lasts):
                if strike.target == DISK_AND_LOG:
                    with suppress(psycopg.Error):
                        self._use_up_log()
        return self.desk.full_disk_complaints() > before

    def _use_up_log(self) -> None:
        """Until there is no file to go on in. Raises psycopg.Error then."""
        with self._database() as database:
            while True:
                database.execute("SELECT pg_logical_emit_message(true, 'chaos', '')")
                database.execute("SELECT pg_switch_wal()")

    def _hold(self, ledger: str, seconds: float) -> bool:
        with closing(self._database()) as database:  # which may be cut meanwhile
            database.execute("BEGIN")
            database.execute(f"LOCK TABLE simulator.{ledger}")
            time.sleep(seconds)
        return True

    def _repeat(self) -> bool:
        until = time.monotonic() + PATIENCE
        while not self.repeat_news():
            if time.monotonic() > until:
                return False
            time.sleep(1)
        return True
