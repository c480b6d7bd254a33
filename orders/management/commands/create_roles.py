"""`manage.py create_roles`: make the groups in the database what `orders.roles` says."""

from django.core.management.base import BaseCommand, CommandError

from orders.accounts import create_roles
from orders.roles import Role


class Command(BaseCommand):
    help = "Creates the groups of the roles, each with exactly its permissions. Safe to run again."
    requires_system_checks = []  # they have nothing to do with the pages, which would be loaded for them

    def handle(self, *args: object, **options: object) -> None:
        try:
            create_roles()
        except LookupError as problem:
            raise CommandError(str(problem)) from None
        self.stdout.write(f"Roles: {', '.join(Role)}.")
