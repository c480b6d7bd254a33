#!/usr/bin/env python
"""Django's command line, for the desk and its workers."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import InterfaceError, OperationalError


def main(arguments: list[str]) -> None:
    """Run a command; what the person at the terminal can mend is one sentence, unless they ask for --traceback."""
    try:
        execute_from_command_line(arguments)
    except ImproperlyConfigured as problem:
        if "--traceback" in arguments:
            raise
        sys.exit(str(problem))
    except (OperationalError, InterfaceError) as problem:
        if "--traceback" in arguments:
            raise
        reason = str(problem).strip().partition("\n")[0]
        sys.exit(f"The database that DATABASE_URL names does not do what it is asked: {reason}")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orders_site.settings")
    main(sys.argv)
