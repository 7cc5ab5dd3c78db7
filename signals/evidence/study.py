"""A study: the tables of what one series' signals were worth over a range."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markets.candles import Candles, FloatArray
from markets.errors import NoCandlesError
from markets.series import Timeframe
from signals.engine import DETECTOR_VERSION, Detector, Kind, SignalTable
from signals.engine.kinds import KIND_TEXT, ZONE_KINDS
from signals.engine.table import IndexArray
from signals.evidence.conditions import all_conditions
from signals.evidence.nulls import adjusted, judge, shifted_means, wilson
from signals.evidence.outcomes import TARGETS, average_true_ranges, first_passages, forward_returns
from signals.evidence.spec import EvidenceSpec
from signals.evidence.zones import hold_rate

# Fewer signals than this are told with their mean and n, and nothing is concluded from them.
ENOUGH = 50
# Rows with a q below this are noted; about that share of them is expected to be false.
NOTED = 0.1
# The stop of a kind that has none of its own, in ATR from the confirm close: as the breakout strategy's.
_STOP_ATR = 2.0

Report = Callable[[float, str], None]

# A signal's natural key within one series and one detector: kind, direction, event time, reference time.
SignalName = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The tables of a study, as plain rows. ``rows`` are forward returns, one a kind, direction and horizon."""

    rows: list[dict[str, Any]]
    passages: list[dict[str, Any]]
    zones: list[dict[str, Any]]
    conditions: list[dict[str, Any]]
    provenance: dict[str, Any]


def study(
    candles: Candles,
    timeframe: Timeframe,
    spec: EvidenceSpec,
    *,
    higher: Mapping[Timeframe, Candles] | None = None,
    among: Collection[SignalName] | None = None,
    report: Report = lambda fraction, stage: None,
) -> Evidence:
    """Study the signals that ``candles`` hold.

    Parameters
    ----------
    candles
        Every stored candle of the series up to the end of the range; the detector starts at the first.
        Candles at or after ``spec.end`` are not read.
    higher
        Candles of higher timeframes, for the condition of their trend.
    among
        Study only these signals, as the ledger's; default: all that are found.
    report
        Told the fraction done and the stage; may raise to stop.

    Raises
    ------
    NoCandlesError
        No candle lies in the range.
    """
    candles = candles.between(None, spec.end)
    first = 0 if spec.start is None else int(np.searchsorted(candles.open_time, spec.start))
    if first >= len(candles):
        raise NoCandlesError("no candles are stored in the range")
    report(0.0, "finding signals")
    table = Detector(spec.params).run(candles).table
    if among is not None:
        table = _only(table, among)
    subject = _Subject(candles, timeframe, spec, table, average_true_ranges(candles, spec.params.atr_period), first)
    groups, horizons = 2 * len(Kind), len(spec.horizons)
    rows = list(
        _return_rows(subject, _samples(subject), _Progress(report, "forward returns", 0.1, 0.5, groups * horizons))
    )
    passages = list(_passage_rows(subject, _Progress(report, "first passages", 0.5, 0.6, groups)))
    zones = list(_zone_rows(subject, _Progress(report, "zones", 0.6, 0.7, groups)))
    conditions: list[dict[str, Any]] = []
    if spec.with_conditions:
        progress = _Progress(report, "conditions", 0.7, 1.0, groups * horizons)
        labels = all_conditions(table, candles, subject.atr, timeframe, higher or {})
        conditions = list(_condition_rows(subject, labels, progress))
    _adjust([*rows, *conditions])
    return Evidence(rows, passages, zones, conditions, _provenance(subject))


class _Progress:
    """Reports how far one stage of a study is, by the groups of signals done; each report may end the study."""

    def __init__(self, report: Report, stage: str, first: float, last: float, groups: int) -> None:
        self._report, self._stage, self._fraction, self._step = report, stage, first, (last - first) / groups
        self.tell()

    def tell(self) -> None:
        self._report(self._fraction, self._stage)

    def next_group(self) -> None:
        self._fraction += self._step
        self.tell()


def _only(table: SignalTable, names: Collection[SignalName]) -> SignalTable:
    """Return the named signals; studies read no marks, so those of the others may stay."""
    wanted = frozenset(names)
    columns = [table.column(name).tolist() for name in ("direction", "event_time", "ref_time")]
    keys = zip(table.rows["kind"].tolist(), *columns, strict=True)
    return replace(table, rows=table.rows[np.fromiter((key in wanted for key in keys), bool, len(table))])


@dataclass(frozen=True, slots=True, eq=False)
class _Subject:
    """What all tables of a study are made of. ``first`` is the index of the range's first candle."""

    candles: Candles
    timeframe: Timeframe
    spec: EvidenceSpec
    table: SignalTable
    atr: FloatArray
    first: int

    @property
    def confirm(self) -> IndexArray:
        return self.table.rows["confirm_idx"].astype(np.int64)

    @property
    def direction(self) -> IndexArray:
        return self.table.rows["direction"].astype(np.int64)

    def in_range(self) -> NDArray[np.bool_]:
        return self.confirm >= self.first

    def groups(self) -> Iterator[tuple[Kind, int, IndexArray]]:
        """Yield each kind and direction with the rows of its signals in the range."""
        inside = self.in_range()
        for kind in Kind:
            of_kind = inside & (self.table.rows["kind"] == kind)
            for direction in (1, -1):
                yield kind, direction, np.flatnonzero(of_kind & (self.direction == direction))

    def rng(self, *salt: int) -> np.random.Generator:
        """Return a generator of its own for each row, so that no row depends on which others are made."""
        return np.random.default_rng([self.spec.seed, *salt])


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """A part of the range: its candles from ``first`` up to ``end``, and the signals confirmed there."""

    first: int
    end: int


def _whole_range(subject: _Subject) -> _Sample:
    return _Sample(subject.first, len(subject.candles))


def _samples(subject: _Subject) -> dict[str, _Sample]:
    """Return the parts of the range: all of it, and what lies before and after the split."""
    whole = _whole_range(subject)
    if subject.spec.split is None:
        return {"all": whole}
    turn = max(subject.first, int(np.searchsorted(subject.candles.open_time, subject.spec.split)))
    return {"all": whole, "in": _Sample(whole.first, turn), "out": _Sample(turn, whole.end)}


def _return_rows(subject: _Subject, samples: Mapping[str, _Sample], progress: _Progress) -> Iterator[dict[str, Any]]:
    for number, horizon in enumerate(subject.spec.horizons):
        returns = _Returns(subject, horizon, progress)
        for kind, direction, group in subject.groups():
            for place, (name, sample) in enumerate(samples.items()):
                row = returns.row(group, direction, sample, rng=subject.rng(kind, direction + 1, number, place))
                yield {"kind": kind.name, "direction": direction, "horizon": horizon, "sample": name, **row}
            progress.next_group()


def _condition_rows(
    subject: _Subject, labels: Mapping[str, NDArray[np.object_]], progress: _Progress
) -> Iterator[dict[str, Any]]:
    whole = _whole_range(subject)
    for number, horizon in enumerate(subject.spec.horizons):
        returns = _Returns(subject, horizon, progress)
        for kind, direction, group in subject.groups():
            for place, (condition, label) in enumerate(labels.items()):
                its_label = label[group]
                for order, value in enumerate(sorted(set(its_label.tolist()) - {""})):
                    rng = subject.rng(kind, direction + 1, number, place, order, 1)
                    row = returns.row(group[its_label == value], direction, whole, rng=rng)
                    yield {
                        "kind": kind.name, "direction": direction, "horizon": horizon,
                        "condition": condition, "value": value, **row,
                    }  # fmt: skip
            progress.next_group()


class _Returns:
    """Forward returns over one horizon, and the null that belongs to them."""

    def __init__(self, subject: _Subject, horizon: int, progress: _Progress) -> None:
        self._horizon, self._draws, self._progress = horizon, subject.spec.draws, progress
        self._confirm = subject.confirm
        self._in_atr, self._fraction = forward_returns(subject.candles, subject.atr, horizon)

    def row(self, rows: IndexArray, direction: int, sample: _Sample, *, rng: np.random.Generator) -> dict[str, Any]:
        """Return the statistics of those of ``rows`` whose whole horizon lies in the sample, as their null does."""
        self._progress.tell()
        inside = slice(sample.first, max(sample.first, sample.end - self._horizon))
        in_atr, fraction = self._in_atr[inside], self._fraction[inside]
        at = self._confirm[rows] - sample.first
        at = at[(at >= 0) & (at < len(in_atr))]
        n = len(at)
        row: dict[str, Any] = {
            "n": n, "mean_atr": None, "mean_pct": None, "hit_rate": None, "hit_low": None, "hit_high": None,
            "drift_atr": None, "ci_low": None, "ci_high": None, "p_value": None, "q_value": None, "enough": n >= ENOUGH,
        }  # fmt: skip
        if n == 0:
            return row
        gained = direction * in_atr[at]
        hits = int((gained > 0).sum())
        interval = wilson(hits, n)
        row |= {
            "mean_atr": float(gained.mean()),
            "mean_pct": 100 * float((direction * fraction[at]).mean()),
            "hit_rate": hits / n,
            "hit_low": interval[0] if interval else None,
            "hit_high": interval[1] if interval else None,
        }
        if n >= ENOUGH:
            shifts = rng.integers(1, len(in_atr), self._draws)
            found = judge(direction * shifted_means(in_atr, at, shifts, self._progress.tell), row["mean_atr"])
            row |= {
                "drift_atr": found.drift, "ci_low": found.ci_low, "ci_high": found.ci_high, "p_value": found.p_value,
            }  # fmt: skip
        return row


def _adjust(rows: list[dict[str, Any]]) -> None:
    """Fill in the q-values over everything the study looked at."""
    for row, q_value in zip(rows, adjusted([row["p_value"] for row in rows]), strict=True):
        row["q_value"] = q_value


def _passage_rows(subject: _Subject, progress: _Progress) -> Iterator[dict[str, Any]]:
    stops, horizon = _stops(subject), max(subject.spec.horizons)
    for kind, direction, group in subject.groups():
        walked = first_passages(
            subject.candles, subject.confirm[group], subject.direction[group], stops[group], horizon=horizon
        )
        row: dict[str, Any] = {"kind": kind.name, "direction": direction, "n": len(group)}
        for target in TARGETS:
            hits, decided = walked.rate(target)
            interval = wilson(hits, decided)
            row[f"to_{target}r"] = {
                "hits": hits,
                "decided": decided,
                "rate": hits / decided if decided else None,
                "ci_low": interval[0] if interval else None,
                "ci_high": interval[1] if interval else None,
                # A fair game from 1 below to k above goes up first once in 1 + k.
                "fair_rate": 1 / (1 + target),
            }
        row["mae_r_p50"] = float(np.median(walked.mae_r)) if len(group) else None
        row["mfe_r_p50"] = float(np.median(walked.mfe_r)) if len(group) else None
        row["enough"] = row["n"] >= ENOUGH
        yield row
        progress.next_group()


def _stops(subject: _Subject) -> FloatArray:
    """Return each signal's own stop: a zone's far edge, a sweep's extreme, else 2 ATR from the close."""
    rows, direction = subject.table.rows, subject.direction
    far = np.where(direction > 0, rows["bottom"], rows["top"])
    by_width = subject.candles.close[subject.confirm] - direction * _STOP_ATR * subject.atr[subject.confirm]
    has_own = np.isin(rows["kind"], [*ZONE_KINDS, Kind.SWEEP])
    return np.where(has_own, far, by_width)


def _zone_rows(subject: _Subject, progress: _Progress) -> Iterator[dict[str, Any]]:
    for kind, direction, group in subject.groups():
        if kind in ZONE_KINDS:
            rng = subject.rng(kind, direction + 1, 2)
            rate = hold_rate(subject.candles, subject.table.rows[group], subject.atr, first=subject.first, rng=rng)
            yield {"kind": kind.name, "direction": direction, **asdict(rate), "enough": rate.touched >= ENOUGH}
        progress.next_group()


def _provenance(subject: _Subject) -> dict[str, Any]:
    spec, candles = subject.spec, subject.candles
    return {
        "timeframe": subject.timeframe.value,
        "candles": len(candles) - subject.first,
        "first_time": int(candles.open_time[subject.first]),
        "last_time": int(candles.open_time[-1]),
        "signals": int(subject.in_range().sum()),
        "horizons": list(spec.horizons),
        "draws": spec.draws,
        "seed": spec.seed,
        "split": spec.split,
        "params": asdict(spec.params),
        "params_digest": spec.params.digest,
        "detector_version": DETECTOR_VERSION,
        "kinds": list(KIND_TEXT),
    }
