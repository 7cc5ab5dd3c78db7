"""A site at work, to be backed up meanwhile: candles, signals, jobs and users come in until standard input ends.

Prints a line after each round. What a round wrote is never changed by a later one.
"""

import os
import select
import sys
from itertools import count

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smcsite.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402  # models need the set-up
from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402

from markets.models import Backfill  # noqa: E402
from markets.selectors import candle_store  # noqa: E402
from markets.series import SeriesKey, Timeframe  # noqa: E402
from markets.services import jobs  # noqa: E402
from markets.services.pairs import ensure_series  # noqa: E402
from markets.store import Source  # noqa: E402
from signals.services import catch_up_series, enter_signals, note_told  # noqa: E402
from tests.factories import walk  # noqa: E402

SERIES = SeriesKey("KEPTUSDT", Timeframe.M15)
HISTORY, ROUND = 3_000, 4


def main() -> None:
    call_command("migrate", verbosity=0)
    candles = walk(8, 60_000, timeframe=Timeframe.M15)
    ensure_series(SERIES, is_active=True)
    candle_store().merge(SERIES, candles.first(HISTORY), source=Source.FILE)
    catch_up_series(SERIES)
    for number in count():
        start = HISTORY + ROUND * number
        candle_store().merge(SERIES, candles.take(slice(start, start + ROUND)), source=Source.STREAM)
        facts = catch_up_series(SERIES)
        enter_signals(facts, now=timezone.now(), late=False)
        note_told(facts)
        User.objects.create(username=f"user-{number}", password="!")
        jobs.submit(Backfill(symbol="KEPTUSDT", timeframe="15m", start=0, end=1, note=f"round {number}", spec={}))
        print(number, flush=True)
        if select.select([sys.stdin], [], [], 0)[0]:
            return


if __name__ == "__main__":
    main()
