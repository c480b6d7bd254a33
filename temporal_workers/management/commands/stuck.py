"""`manage.py stuck`: the orders that stand still, why, and what to do; `--start-again` has one carried on."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from orders import cli, stuck
from orders.models import ActorKind
from orders.services import attending, transitions
from orders.services.actors import Actor
from temporal_workers.client import is_away
from temporal_workers.looking import look

BY = Actor(ActorKind.SYSTEM, "Command line")


class Command(BaseCommand):
    help = (
        "Lists the orders that stand still: why, since when, and what to do. Exit status 1 where there are any, "
        "2 where Temporal does not answer and the list is from our own rows alone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="answer in JSON")
        parser.add_argument(
            "--start-again",
            nargs="+",
            default=[],
            metavar="ORDER",
            help="have these carried on whose run was lost or ended; a run that is there is left alone",
        )

    def handle(self, *args: object, json: bool, start_again: list[str], **options: Any) -> None:
        if start_again:
            self.start_again(start_again)
        else:
            self.list(as_json=json)

    def start_again(self, names: list[str]) -> None:
        for name in names:
            try:
                order = attending.start_again(order_id=cli.find(name).pk, actor=BY, at=timezone.now())
            except (cli.NoSuchOrder, transitions.ActionRefused) as refusal:
                raise CommandError(str(refusal)) from None
            self.stdout.write(f"{order.number} is carried on as soon as a worker and Temporal are there.")

    def list(self, *, as_json: bool) -> None:
        at = timezone.now()
        away = ""
        try:
            found = look(at=at)
        except Exception as error:
            if not is_away(error):
                raise
            found, away = stuck.from_rows(at=at), "Temporal does not answer: this is from our own rows alone."
        if as_json:
            self.stdout.write(json.dumps({"is_complete": not away, "stuck": [_document(one) for one in found]}))
        else:
            for one in found:
                self.stdout.write(cli.plain(f"{one.number}  {one.status}  since {one.since:%Y-%m-%d %H:%M:%S %Z}"))
                self.stdout.write(cli.plain(f"  {one.told}"))
                self.stdout.write(cli.plain(f"  {one.to_do}"))
            if not found:
                self.stdout.write("No order stands still.")
        if away:
            raise CommandError(away, returncode=2)
        if found:
            raise CommandError(f"{len(found)} stand still.", returncode=1)


def _document(one: stuck.Stuck) -> dict[str, str]:
    return {name: value.isoformat() if name == "since" else str(value) for name, value in asdict(one).items()}
