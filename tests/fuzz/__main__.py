"""`make fuzz`: the API under requests made up from its own description, and a judgement. See docs/fuzz.md."""

import argparse
import logging
import os
import secrets
import sys
import time
from tempfile import TemporaryDirectory

from tests.databases import database
from tests.servers import environment_of_the_run


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="what is asked; random")
    parser.add_argument("--seconds", type=float, default=300)
    options = parser.parse_args()
    first = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    sys.stdout.write(f"seed {first}: {options.seconds:g} s\n")
    with environment_of_the_run() as found, TemporaryDirectory() as folder:
        os.environ |= found | {
            "DJANGO_SETTINGS_MODULE": "orders_site.settings",
            "DJANGO_ALLOWED_HOSTS": "testserver",
            "DESK_URL": "https://orders.example.com",
            "MAIL_URL": f"file://{folder}",
        }
        with database("fuzz") as url:
            server, os.environ["DATABASE_URL"] = os.environ["DATABASE_URL"], url
            try:
                return attack(first, options.seconds)
            finally:
                os.environ["DATABASE_URL"] = server


def attack(first: int, seconds: float) -> int:
    import django

    django.setup()
    logging.disable(logging.WARNING)  # every refusal is one
    from django.db import connections

    from orders import accounts
    from tests.fuzz.attack import Attack

    accounts.create_roles()
    attack, until, rounds = Attack(), time.monotonic() + seconds, 0
    attack.ask_by_other_methods()
    while time.monotonic() < until:
        attack.ask_everything(seed_of_round=first + rounds, times=6, until=until)
        rounds += 1
    connections.close_all()
    for fault, request in attack.faults.items():
        sys.stdout.write(f"\nFAULT {fault}\n{request}\n")
    never = sorted({operation.label for operation in attack.operations} - attack.reached.keys())
    statuses = ", ".join(f"{many:,} times {status}" for status, many in sorted(attack.statuses.items()))
    sys.stdout.write(
        f"\n{attack.statuses.total():,} requests in {rounds} rounds: {statuses}\n"
        f"never done: {', '.join(never) or 'nothing'}\n"
        f"{len(attack.faults)} faults with seed {first}\n"
    )
    return 1 if attack.faults else 0


if __name__ == "__main__":
    sys.exit(main())
