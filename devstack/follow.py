"""Show what a server writes to its log from now on, and end when the server has ended:

    python -m devstack.follow LOG PID

A process of its own, so that a server's lines and its end come through honcho like everybody else's.
"""

import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

LOOK_EVERY = 0.2  # seconds


def follow(log: Path, pid: int) -> None:
    """Copy what is added to `log` to the standard output until the process is no more."""
    with log.open(errors="replace") as lines:
        lines.seek(0, 2)
        while True:
            ended = not is_running(pid)
            sys.stdout.write(lines.read())
            sys.stdout.flush()
            if ended:
                return
            time.sleep(LOOK_EVERY)


def is_running(pid: int) -> bool:
    """Whether it runs; one that is dead and only waits for its parent to notice does not."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


if __name__ == "__main__":
    follow(Path(sys.argv[1]), int(sys.argv[2]))
    sys.exit(1)
