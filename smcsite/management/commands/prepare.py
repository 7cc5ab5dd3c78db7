"""Makes a data folder ready: ``manage.py prepare``. ``serve`` runs it before it starts anything else."""

import logging
import time
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from markets.management.base import SmcCommand
from markets.selectors import active_series, candle_store
from markets.services.pairs import track_first_pairs

logger = logging.getLogger(__name__)

_MIGRATION_LOCK = 0x534D43  # any number, the same for all


class Command(SmcCommand):
    help = "Migrate, note the pairs of SYMBOLS at the first start, clear up after a crash. Safe to repeat."
    is_service = True
    requires_system_checks = ()  # a web process checks them; here they cost a second

    def run(self, **options: Any) -> None:
        began = time.monotonic()
        with connection.cursor() as cursor:
            # Several machines may start at once; PostgreSQL runs migrations one at a time behind this lock.
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_advisory_lock(%s)", [_MIGRATION_LOCK])
            call_command("migrate", interactive=False, verbosity=0)
            tracked = track_first_pairs()
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_MIGRATION_LOCK])
        candle_store().clear_up()
        if settings.ENV.is_replay:
            self._note_replay_start()
        logger.info("prepared", extra={"pairs": tracked, "seconds": round(time.monotonic() - began, 1)})

    def _note_replay_start(self) -> None:
        """Note from when the synthetic market goes on: it ran faster than time, so the store may be ahead of now."""
        store = candle_store()
        closes = [
            last + series.timeframe.milliseconds
            for series in active_series()
            if (last := store.last_time(series)) is not None
        ]
        newest = max([time.time_ns() // 1_000_000, *closes])
        (settings.VAR_ROOT / "replay-start").write_text(str(newest))
