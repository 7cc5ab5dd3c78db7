"""The look-ahead check: reruns on shorter histories must make the same trades up to their end."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from backtests.engine.bench import Bench
from backtests.engine.ledger import Trades
from backtests.engine.methods.method import SEED, Options, Piece, WholeOption
from backtests.engine.spec import BacktestSpec

CUTS = WholeOption("cuts", default=20, low=1, high=500)
_CUTS_A_PIECE = 5
_SHOWN = 20


class LookAhead:
    """Reruns on prefixes, signals and all found anew. A piece is some prefixes."""

    name: ClassVar[str] = "look_ahead"
    meaning: ClassVar[str] = "reruns on shorter histories, which must make the same trades up to their end"
    option_names: ClassVar[tuple[str, ...]] = ("cuts", "seed")

    def read(self, spec: BacktestSpec, options: Mapping[str, Any]) -> Options:
        return {
            "cuts": CUTS.read(options),
            "seed": SEED.read(options),
        }

    def plan(self, spec: BacktestSpec, options: Options) -> list[Piece]:
        bar, start, end = spec.timeframe.milliseconds, spec.start or 0, spec.end or 0
        bars = max(1, (end - start) // bar)
        drawn = np.random.default_rng(options["seed"]).integers(1, bars + 1, size=int(options["cuts"]))
        cuts = sorted({start + each * bar for each in drawn.tolist()})
        return [{"cuts": cuts[at : at + _CUTS_A_PIECE]} for at in range(0, len(cuts), _CUTS_A_PIECE)]

    def runs(self, spec: BacktestSpec, options: Options) -> int:
        # Each finds its signals anew, which costs more than the run.
        return 4 * int(options["cuts"])

    def work(self, bench: Bench, spec: BacktestSpec, piece: Piece) -> dict[str, Any]:
        whole = rows_of(bench.trade(spec).trades)
        differing = []
        for cut in piece["cuts"]:
            known = {symbol: candles.between(None, cut) for symbol, candles in bench.candles.items()}
            detail = {symbol: candles.between(None, cut) for symbol, candles in bench.detail.items()}
            prefix = Bench(known, detail, bench.filters, bench.check)
            found = rows_of(prefix.trade(spec.within(spec.start or 0, cut)).trades)
            expected, seen = ended_before(whole, cut), ended_before(found, cut)
            differing += [{"cut": cut, **difference} for difference in differences(expected, seen)]
        return {"prefixes": len(piece["cuts"]), "differences": differing[:_SHOWN], "count": len(differing)}

    def combine(
        self, spec: BacktestSpec, options: Options, pieces: Sequence[Piece], results: Sequence[dict[str, Any] | None]
    ) -> dict[str, Any]:
        done = [result for result in results if result is not None]
        count = sum(result["count"] for result in done)
        return {
            "prefixes": sum(result["prefixes"] for result in done),
            "identical": count == 0,
            "differences": [each for result in done for each in result["differences"]][:_SHOWN],
            "difference_count": count,
        }


Row = tuple[Any, ...]


def rows_of(trades: Trades) -> list[Row]:
    """Return each closed trade as a tuple: pair, entry and exit times, side, prices, quantity, reason, result."""
    rows = trades.rows
    names = ("entry_time", "exit_time", "side", "entry", "exit", "quantity", "reason", "net")
    columns = [trades.symbol.texts.tolist(), *(rows[name].tolist() for name in names)]
    return [row for row, closed in zip(zip(*columns, strict=True), trades.is_closed.tolist(), strict=True) if closed]


def ended_before(rows: Sequence[Row], cut: int) -> list[Row]:
    return [row for row in rows if row[2] < cut]


def differences(expected: Sequence[Row], found: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the trades that only one of the two has."""
    ours, theirs = set(expected), set(found)
    lost = [{"symbol": row[0], "entry_time": row[1], "only_in": "whole"} for row in expected if row not in theirs]
    new = [{"symbol": row[0], "entry_time": row[1], "only_in": "prefix"} for row in found if row not in ours]
    return lost + new
