"""`manage.py reset_second_factor NAME --reason "…"`: for the last admin, whom nobody else can help."""

from argparse import ArgumentParser
from getpass import getuser

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from orders.models import ActorKind
from orders.services import second_factor
from orders.services.actors import Actor


class Command(BaseCommand):
    help = "Takes somebody's second factor away: they are signed out everywhere, and their next sign-in sets one up."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="as they sign in")
        parser.add_argument("--reason", required=True, help="stays on record, with your name on this machine")

    def handle(self, *args: object, name: str, reason: str, **options: object) -> None:
        user = User.objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no user called {name}.")
        actor = Actor(ActorKind.SYSTEM, f"{getuser()} at the command line")
        try:
            second_factor.reset(user=user, reason=reason, actor=actor, at=timezone.now())
        except second_factor.ResetRefused as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(f"{name} is signed out everywhere, and sets up a second factor at the next sign-in.")
