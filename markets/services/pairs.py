"""Which pairs and series the service knows, and what the exchange says of them."""

from collections.abc import Iterable

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from markets.exchanges import Exchange, PairInfo
from markets.models import Pair, Series
from markets.series import SeriesKey, Timeframe

# The quote assets of Binance's larger markets; a name is split by them until the exchange was asked.
_QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "USD")


def ensure_series(series: SeriesKey, *, is_active: bool = False) -> Series:
    """Return the row of ``series``, making it and its pair when they are not there.

    A row made here is not streamed unless ``is_active``: importing a file does not subscribe to a market.
    """
    with transaction.atomic():
        pair, _ = Pair.objects.get_or_create(
            symbol=series.symbol, defaults={**_split(series.symbol), "is_active": is_active}
        )
        row, _ = Series.objects.get_or_create(
            pair=pair, timeframe=series.timeframe.value, defaults={"is_active": is_active}
        )
    return row


def track(symbol: str, timeframes: Iterable[Timeframe]) -> list[Series]:
    """Stream and keep up to date these timeframes of a pair, and no others of it."""
    wanted = {timeframe.value for timeframe in timeframes}
    with transaction.atomic():
        pair, _ = Pair.objects.get_or_create(symbol=symbol, defaults=_split(symbol))
        pair.is_active = bool(wanted)
        pair.save(update_fields=["is_active"])
        pair.series.exclude(timeframe__in=wanted).update(is_active=False)
        rows = [
            Series.objects.update_or_create(pair=pair, timeframe=each, defaults={"is_active": True}) for each in wanted
        ]
    return [row for row, _ in rows]


def note_state(series: SeriesKey, *, error: str, held_from: int | None) -> None:
    """Note why a series does not advance (empty: it does), and the first candle that it waits for."""
    rows = Series.objects.filter(pair__symbol=series.symbol, timeframe=series.timeframe.value)
    rows.exclude(error=error[:300], held_from=held_from).update(error=error[:300], held_from=held_from)


def track_first_pairs() -> int:
    """At the first start, track the pairs of ``SYMBOLS``; return how many. Later starts change nothing."""
    if Series.objects.filter(is_active=True).exists() or Pair.objects.filter(refreshed_at__isnull=False).exists():
        return 0
    for symbol in settings.ENV.symbols:
        track(symbol, map(Timeframe, settings.ENV.timeframes))
    return len(settings.ENV.symbols)


def refresh(exchange: Exchange) -> int:
    """Write down what the exchange says of the known pairs; return how many it told of.

    A pair that the exchange does not list any more gets the status ``GONE``.
    """
    known = list(Pair.objects.all())
    told = {info.symbol: info for info in exchange.pairs()}
    now = timezone.now()
    for pair in known:
        _describe(pair, told.get(pair.symbol))
        pair.refreshed_at = now
    fields = ["base_asset", "quote_asset", "status", "tick_size", "step_size", "min_notional", "refreshed_at"]
    Pair.objects.bulk_update(known, fields, batch_size=500)
    return sum(pair.symbol in told for pair in known)


def _describe(pair: Pair, info: PairInfo | None) -> None:
    if info is None:
        pair.status = "GONE"
        return
    pair.base_asset, pair.quote_asset, pair.status = info.base_asset, info.quote_asset, info.status
    pair.tick_size, pair.step_size, pair.min_notional = info.tick_size, info.step_size, info.min_notional


def _split(symbol: str) -> dict[str, str]:
    quote = next((each for each in _QUOTES if symbol.endswith(each) and symbol != each), "")
    return {"base_asset": symbol.removesuffix(quote) if quote else symbol, "quote_asset": quote}
