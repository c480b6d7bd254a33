"""`manage.py create_demo_cast`: people to sign in as, for demonstrations only."""

import json
from argparse import ArgumentParser
from dataclasses import asdict

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from orders.accounts import create_demo_cast


class Command(BaseCommand):
    help = "Creates two operators, a lead, an admin and a viewer for a demonstration and prints their passwords."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
        parser.add_argument("--reset", action="store_true", help="give those who exist a new password too")

    def handle(self, *args: object, **options: object) -> None:
        if not settings.DEBUG:
            raise CommandError(
                "The demo cast is for demonstrations only: with DJANGO_DEBUG off, create people with createsuperuser"
                " and in the admin."
            )
        try:
            members = create_demo_cast(reset=bool(options["reset"]))
        except LookupError as problem:
            raise CommandError(str(problem)) from None
        if options["json"]:
            self.stdout.write(json.dumps([asdict(member) for member in members]))
            return
        self.stdout.write("Demo only, shown this once:")
        for member in members:
            password = member.password or "(unchanged; --reset gives a new one)"
            self.stdout.write(f"  {member.username:<8}{member.role:<10}{password}")
