"""`manage.py` for the desk that `make up` runs: with the same database, the same Temporal, the same secret key.

.venv/bin/python -m devstack.manage create_demo_cast --reset
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.servers import CannotStart
from devstack.settings import Settings

NEEDED = (
    "DATABASE_URL",
    "TEMPORAL_ADDRESS",
    "TEMPORAL_NAMESPACE",
    "TEMPORAL_CONFIG_FILE",
    "TEMPORAL_UI_URL",
    "DJANGO_SETTINGS_MODULE",
    "DJANGO_DEBUG",
    "DJANGO_SECRET_KEY",
    "WEBHOOK_URL",
    "DESK_URL",
    "MAIL_URL",
    "MAIL_FROM",
    "MAIL_ORDERS_UP_TO",
)


def main() -> None:
    try:
        os.environ |= environment_of_the_desk(Settings.read(os.environ).data_dir)
    except CannotStart as problem:
        sys.exit(str(problem))

    import manage

    manage.main(["manage.py", *sys.argv[1:]])


@contextmanager
def environment_kept(data_dir: Path) -> Iterator[None]:
    """Keep what this process tells Django where `main` finds it, for as long as the desk runs."""
    file = _file(data_dir)
    file.touch(mode=0o600)
    file.write_text(json.dumps({name: os.environ[name] for name in NEEDED if name in os.environ}))
    try:
        yield
    finally:
        file.unlink()


def environment_of_the_desk(data_dir: Path) -> dict[str, str]:
    """Raises CannotStart if no desk runs on this data."""
    try:
        environment: dict[str, str] = json.loads(_file(data_dir).read_text())
    except FileNotFoundError:
        raise CannotStart(f"No desk runs on the data in {data_dir}: start it with `make up`.") from None
    return environment


def _file(data_dir: Path) -> Path:
    return data_dir / "environment.json"


if __name__ == "__main__":
    main()
