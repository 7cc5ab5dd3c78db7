"""Studies of stored series: what their signals were worth, found anew or as they were published."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.core.cache import cache
from redis.exceptions import RedisError

from markets.candles import Candles
from markets.errors import NoCandlesError, TooLargeError
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.store import digest_of
from signals.engine import DETECTOR_VERSION, Kind, scale_params
from signals.evidence import Evidence, EvidenceSpec, study
from signals.evidence.study import Report, SignalName
from signals.selectors.ledger import ledger

# What a request may ask to be done while it waits; more is a job.
MAX_CANDLES_NOW = 200_000
# Some seconds, and somewhat more than the page of evidence asks of so many candles, with a split and conditions.
MAX_MOVES_NOW = 6_000_000_000

_KEPT_SECONDS = 3_600


def _silent(fraction: float, stage: str) -> None:
    """Tell nobody."""


def study_series(
    series: SeriesKey, spec: EvidenceSpec, *, report: Report = _silent, among: Collection[SignalName] | None = None
) -> Evidence:
    """Study one stored series. Raises ``NoCandlesError`` when nothing is stored for the range."""
    store = candle_store()
    candles = store.read(series, start=None, end=spec.end)
    if not len(candles):
        where = " before the end" if spec.end is not None else ""
        raise NoCandlesError(f"nothing is stored of {series}{where}")
    return study(candles, series.timeframe, spec, higher=_higher(series, spec), among=among, report=report)


def _higher(series: SeriesKey, spec: EvidenceSpec) -> dict[Timeframe, Candles]:
    """Return what is stored of the pair's higher timeframes where the study's conditions read them."""
    if not spec.with_conditions:
        return {}
    above = (each for each in Timeframe if each.minutes > series.timeframe.minutes)
    read = {each: candle_store().read(SeriesKey(series.symbol, each), start=None, end=spec.end) for each in above}
    return {each: stored for each, stored in read.items() if len(stored)}


def study_now(series: SeriesKey, spec: EvidenceSpec) -> dict[str, Any]:
    """Study while someone waits; the same question about the same candles is answered from the cache.

    Raises ``TooLargeError``, which names the cap, when the range is for a job.
    """
    store = candle_store()
    coverage = store.coverage(series)
    if coverage is None:
        raise NoCandlesError(f"nothing is stored of {series}")
    after = coverage.last + series.timeframe.milliseconds
    end = min(spec.end, after) if spec.end is not None else after
    count = (end - coverage.first) // series.timeframe.milliseconds
    if count > MAX_CANDLES_NOW:
        raise TooLargeError(
            f"{count:,} candles are more than the {MAX_CANDLES_NOW:,} a request may ask for; POST it as a job",
            field="to",
        )
    studied = count if spec.start is None else min(count, max(0, (end - spec.start) // series.timeframe.milliseconds))
    if spec.moves(studied) > MAX_MOVES_NOW:
        conditions = " with conditions" if spec.with_conditions else ""
        raise TooLargeError(
            f"{studied:,} candles, {len(spec.horizons)} horizons and {spec.draws:,} draws{conditions} are"
            f" {spec.moves(studied):,} moves of a signal, more than the {MAX_MOVES_NOW:,} a request may ask for;"
            " ask for fewer draws or POST it as a job",
            field="draws",
        )
    digests = [store.digest(series, start=None, end=end)]
    digests += [f"{each}:{digest_of(candles)}" for each, candles in _higher(series, spec).items()]
    key = _cache_key(series, spec, digests)
    try:
        kept = cache.get(key)
    except (RedisError, OSError):
        kept = None
    if kept is None:
        kept = evidence_json(series, study_series(series, spec))
        _keep(key, kept)
    found: dict[str, Any] = kept
    return found


def _cache_key(series: SeriesKey, spec: EvidenceSpec, digests: Sequence[str]) -> str:
    asked = json.dumps([str(series), digests, DETECTOR_VERSION, asdict(spec)], sort_keys=True)
    return f"evidence:{hashlib.sha256(asked.encode()).hexdigest()}"


def _keep(key: str, found: dict[str, Any]) -> None:
    try:
        cache.set(key, found, _KEPT_SECONDS)
    except (RedisError, OSError):
        return


def evidence_json(series: SeriesKey, found: Evidence) -> dict[str, Any]:
    """Return a study as API, command and job row tell it."""
    return {
        "rows": found.rows,
        "passages": found.passages,
        "zones": found.zones,
        "conditions": found.conditions,
        "provenance": {"symbol": series.symbol, **found.provenance},
    }


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """What was published live of a series and scale, beside what the detector finds now over the same time.

    ``published`` and ``recomputed`` are studies, None before there is anything to study. ``counts`` says how many
    signals were told in time, late, told and no longer found, and found but never told.
    """

    counts: dict[str, int]
    published: Evidence | None
    recomputed: Evidence | None


def track_record(series: SeriesKey, scale: str, *, draws: int = 500) -> TrackRecord:
    """Judge the signals that were told in time, by the statistics of every other study.

    Late signals are left out: whoever reads them knows already what followed. Of a long record the newest
    ``MAX_CANDLES_NOW`` candles are judged, for somebody waits.
    """
    params = scale_params(scale)
    last = candle_store().last_time(series) or 0
    rows = (
        ledger(series)
        .filter(
            scale=scale,
            detector_version=DETECTOR_VERSION,
            params_digest=params.digest,
            confirm_time__gt=last - MAX_CANDLES_NOW * series.timeframe.milliseconds,
        )
        .order_by("confirm_time")
    )
    told = list(rows.values("kind", "direction", "event_time", "ref_time", "confirm_time", "is_late", "revised_at"))
    in_time = [row for row in told if not row["is_late"]]
    counts = {
        "in_time": len(in_time),
        "late": len(told) - len(in_time),
        "revised": sum(row["revised_at"] is not None for row in told),
    }
    if not in_time:
        return TrackRecord({**counts, "recomputed": 0, "missing": 0, "extra": 0}, None, None)
    spec = EvidenceSpec(start=in_time[0]["confirm_time"], draws=draws, params=params)
    published = study_series(series, spec, among=[_name(row) for row in in_time])
    recomputed = study_series(series, spec)
    return TrackRecord(
        {
            **counts,
            "recomputed": recomputed.provenance["signals"],
            "missing": len(in_time) - published.provenance["signals"],
            "extra": recomputed.provenance["signals"] - published.provenance["signals"],
        },
        published,
        recomputed,
    )


def _name(row: Mapping[str, Any]) -> SignalName:
    return int(Kind[row["kind"]]), row["direction"], row["event_time"], row["ref_time"]


def track_record_json(series: SeriesKey, scale: str) -> dict[str, Any]:
    """Return a track record as API and page tell it."""
    record = track_record(series, scale)
    return {
        "symbol": series.symbol,
        "timeframe": series.timeframe.value,
        "scale": scale,
        "counts": record.counts,
        "published": evidence_json(series, record.published) if record.published is not None else None,
        "recomputed": evidence_json(series, record.recomputed) if record.recomputed is not None else None,
    }
