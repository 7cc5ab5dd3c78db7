"""Makes an account of the staff: Django's ``manage.py createsuperuser``, with one line where it has a trace."""

from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.core.management import CommandError
from django.db import DatabaseError

from markets.management.base import told_by_database


class Command(createsuperuser.Command):
    def execute(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            hint = "For an account of the synthetic market put MARKET_SOURCE=replay before the command"
            raise CommandError(f"{told_by_database(error)} {hint}") from error
