"""A disk for PostgreSQL alone, small enough to be filled: memory that is mounted in a namespace of this run's own.

It needs no rights: who is not root gets a namespace of users too. Where a system gives out none (macOS, some
containers), there is no such disk, and none is filled.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SIZE = "512m"
MOUNT = 'mount -t tmpfs -o "size=$0,mode=711" countersign "$1" && shift && exec "$@"'


def disk_in(folder: Path) -> Path:
    return folder / "disk"


def start_again_with_a_disk(folder: Path, arguments: list[str]) -> None:
    """Become `python -m tests.chaos` with these arguments and a disk in `folder`, which is gone with the process.

    Does nothing where it is there already, or cannot be.
    """
    disk = disk_in(folder)
    if disk.is_mount() or shutil.which("unshare") is None:
        return
    disk.mkdir(exist_ok=True)
    anybody = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    apart = ["unshare", "--mount", *anybody, "--", "sh", "-c", MOUNT, SIZE, str(disk)]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode == 0:
        os.execvp(apart[0], [*apart, sys.executable, "-m", "tests.chaos", *arguments])  # noqa: S606 - it has one


def fill(disk: Path, seconds: float) -> Iterator[None]:
    """Fill it and keep it full for so long, with something to do for the caller now and then; then make room again."""
    ballast = disk / "ballast"
    until = time.monotonic() + seconds
    try:
        with ballast.open("wb") as file:
            while time.monotonic() < until:
                with suppress(OSError):  # somebody was faster
                    _take_what_is_left(file.fileno())
                yield
                time.sleep(0.05)
    finally:
        ballast.unlink(missing_ok=True)


def _take_what_is_left(file: int) -> None:
    there = os.fstatvfs(file)
    if there.f_bavail:
        os.posix_fallocate(file, os.fstat(file).st_size, there.f_bavail * there.f_frsize)
