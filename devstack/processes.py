"""The processes of the desk under honcho, so that none of them outlives `make up`."""

import multiprocessing
import os
import shlex
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import honcho.manager
import psutil
from honcho.process import Process

# A worker that is told to stop first finishes what it has begun (WORKER_DRAIN_TIMEOUT).
SECONDS_TO_DRAIN = 25
honcho.manager.KILL_WAIT = SECONDS_TO_DRAIN

# Every process of a desk has the path of that desk's data in this environment variable.
MARK = "COUNTERSIGN_UP"


STOPPED_BY_SIGNAL = {known["rc"] for known in honcho.manager.SIGNALS.values()}


class Processes(honcho.manager.Manager):  # type: ignore[misc]
    """honcho's manager: if one process ends, all are ended."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.ended_by_itself: tuple[str, int] | None = None  # which, and its exit status or minus its signal
        self._mark = mark
        self._process_ctor = TetheredProcess

    def add(self, name: str, command: Sequence[str]) -> None:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", MARK: self._mark}
        # Without `exec` a shell would stand between honcho and the process, and be told to stop in its place.
        self.add_process(name, "exec " + shlex.join(command), env=environment)

    def run(self) -> None:
        """Show everybody's output until a signal or the end of one process, and then end them all."""
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
        try:
            self.loop()
        finally:
            # After a normal end nothing is left. This is for the other ends, such as a terminal that is gone.
            end_processes(marked(self._mark))
            for tether in multiprocessing.active_children():
                tether.kill()

    def terminate(self) -> None:
        """Tell all processes to stop; honcho calls this on a signal and when the first of them has ended."""
        if not self._all_started():
            # honcho does not know every pid yet, and it learns them in the loop that a signal has interrupted.
            threading.Timer(0.1, self.terminate).start()
            return
        if not self._terminating and self.returncode not in STOPPED_BY_SIGNAL:
            self.ended_by_itself = next(
                (name, state["returncode"]) for name, state in self._processes.items() if "returncode" in state
            )
        super().terminate()


class TetheredProcess(Process):  # type: ignore[misc]
    """A process that is told to stop if `make up` itself is killed and can tell nobody any more.

    `run` is called in a process of honcho's between the two, which reads the output of the one for the other.
    """

    def run(self, events: object = None, ignore_signals: bool = False) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        threading.Thread(target=self._end_with, args=[os.getppid()], daemon=True).start()
        super().run(events, ignore_signals)

    def _end_with(self, parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(self._child.pid, signal.SIGTERM)
        os._exit(1)


def marked(mark: str) -> list[psutil.Process]:
    """The processes that carry this mark."""
    return [process for process in psutil.process_iter() if _mark_of(process) == mark]


def end_processes(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=SECONDS_TO_DRAIN)
    for process in stubborn:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except psutil.Error:
        return None
