"""`manage.py create_api_client NAME --scope read --scope place`: let a program call the API."""

from argparse import ArgumentParser

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from orders.models import ApiScope
from orders.services import clients
from orders.services.texts import wrong_with_text


class Command(BaseCommand):
    help = "Creates a client of the API and prints its token, this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="also the source of the orders that it places")
        parser.add_argument("--scope", action="append", required=True, choices=ApiScope.values, help="may be repeated")
        parser.add_argument("--user", default="", help="the username as whom it decides, with that user's role")

    def handle(self, *args: object, name: str, scope: list[str], user: str, **options: object) -> None:
        if wrong := "is missing" if not name.strip() else wrong_with_text(name, 40):
            raise CommandError(f"The name {wrong}.")
        decides_as = User.objects.filter(username=user).first()
        if user and decides_as is None:
            raise CommandError(f"There is no user called {user}.")
        scopes = {ApiScope(each) for each in scope}
        try:
            token = clients.create_client(name=name.strip(), scopes=scopes, user=decides_as, at=timezone.now())
        except clients.CannotCreate as problem:
            raise CommandError(str(problem)) from None
        self.stdout.write(token)
