"""What each metric is called and measured in, told once; the command, the pages and docs/metrics.md show them so."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Unit(StrEnum):
    COUNT = "count"
    FRACTION = "fraction"
    PERCENT = "%"
    R = "R"
    QUOTE = "quote currency"
    SECONDS = "s"
    RATIO = "ratio"
    TIME = "UTC"


@dataclass(frozen=True, slots=True)
class Term:
    """A metric: its name in metrics.json, what people read, and its unit."""

    name: str
    label: str
    unit: Unit


_C, _F, _P, _R, _Q = Unit.COUNT, Unit.FRACTION, Unit.PERCENT, Unit.R, Unit.QUOTE
_S, _N, _T = Unit.SECONDS, Unit.RATIO, Unit.TIME

SECTIONS: dict[str, tuple[Term, ...]] = {
    "Result": (
        Term("initial_capital", "Capital at the start", _Q),
        Term("final_equity", "Equity at the end", _Q),
        Term("net_profit", "Net profit", _Q),
        Term("return_pct", "Return", _P),
        Term("return_pct_optimistic", "Return, ambiguous exits at the target", _P),
        Term("return_pct_pessimistic", "Return, ambiguous exits at the stop", _P),
        Term("buy_hold_return_pct", "Buy and hold", _P),
        Term("cagr_pct", "Growth a year", _P),
    ),
    "Trades": (
        Term("trades", "Trades", _C),
        Term("open_at_end", "Open at the end", _C),
        Term("wins", "Wins", _C),
        Term("losses", "Losses", _C),
        Term("breakevens", "Break-evens", _C),
        Term("win_rate", "Win rate", _F),
        Term("win_rate_ci_low", "Win rate, 95 % interval from", _F),
        Term("win_rate_ci_high", "Win rate, 95 % interval to", _F),
        Term("profit_factor", "Profit factor", _N),
        Term("payoff_ratio", "Average win over average loss", _N),
        Term("gross_profit", "Gross profit", _Q),
        Term("gross_loss", "Gross loss", _Q),
        Term("expectancy", "Mean result of a trade", _Q),
        Term("max_consecutive_wins", "Longest run of wins", _C),
        Term("max_consecutive_losses", "Longest run of losses", _C),
    ),
    "In units of risk": (
        Term("total_r", "Total", _R),
        Term("expectancy_r", "Mean of a trade", _R),
        Term("expectancy_r_ci", "Mean, 95 % interval", _R),
        Term("median_r", "Median", _R),
        Term("std_r", "Deviation", _R),
        Term("p_value", "p of the mean against 0", _N),
        Term("sqn", "SQN, at most 100 trades", _N),
        Term("sqn_raw", "SQN, all trades", _N),
    ),
    "Risk": (
        Term("max_drawdown_abs", "Largest drawdown", _Q),
        Term("max_drawdown_pct", "Deepest drawdown", _P),
        Term("max_drawdown_intrabar_pct", "Deepest drawdown inside bars", _P),
        Term("max_dd_peak_at", "Its peak", _T),
        Term("max_dd_trough_at", "Its trough", _T),
        Term("max_dd_recovered_at", "Its recovery", _T),
        Term("max_dd_duration_s", "Longest time under water", _S),
        Term("time_underwater", "Bars under water", _F),
        Term("volatility_ann_pct", "Volatility a year", _P),
        Term("sharpe", "Sharpe, a year of 365 days", _N),
        Term("sortino", "Sortino", _N),
        Term("calmar", "Calmar", _N),
        Term("recovery_factor", "Net profit over largest drawdown", _N),
    ),
    "Execution": (
        Term("exposure", "Bars with a position", _F),
        Term("avg_hold_s", "Mean hold", _S),
        Term("median_hold_s", "Median hold", _S),
        Term("max_hold_s", "Longest hold", _S),
        Term("avg_hold_wins_s", "Mean hold of wins", _S),
        Term("avg_hold_losses_s", "Mean hold of losses", _S),
        Term("mae_r_mean", "Adverse excursion, mean", _R),
        Term("mae_r_p50", "Adverse excursion, median", _R),
        Term("mae_r_p90", "Adverse excursion, 90 %", _R),
        Term("mfe_r_mean", "Favourable excursion, mean", _R),
        Term("mfe_r_p50", "Favourable excursion, median", _R),
        Term("mfe_r_p90", "Favourable excursion, 90 %", _R),
        Term("edge_ratio", "Favourable over adverse excursion", _N),
        Term("exit_efficiency", "Share of the favourable excursion kept", _N),
        Term("fees", "Fees", _Q),
        Term("slippage_cost", "Slippage", _Q),
        Term("funding", "Funding", _Q),
        Term("ambiguous_exits", "Ambiguous exits", _C),
        Term("ambiguous_share", "Ambiguous exits, share", _F),
    ),
}

TERMS = {term.name: term for terms in SECTIONS.values() for term in terms}

# Why a metric is null, for people.
REASONS = {
    "no_trades": "no closed trades",
    "no_losses": "no losses: infinite",
    "fewer_than_2_trades": "fewer than 2 trades",
    "fewer_than_10_trades": "fewer than 10 trades",
    "zero_variance": "no variance",
    "less_than_a_day": "less than a day",
    "fewer_than_2_days": "fewer than 2 days",
    "no_downside": "no losing day",
    "no_drawdown": "no drawdown",
    "no_cagr": "growth a year is undefined",
    "not_recovered": "not recovered",
    "no_adverse_excursion": "no adverse excursion",
    "no_excursion": "no favourable excursion",
    "no_bars": "no candles",
    "too_large": "too large for a number",
    "not_finite": "not a finite number",
}


def metric_text(metrics: Mapping[str, Any], name: str) -> str:
    """Write a metric as people read it; an undefined one as its reason."""
    value = metrics[name]
    if value is None:
        reason = metrics["undefined"].get(name, "")
        return f"- ({REASONS.get(reason, reason)})"
    return _WRITERS[TERMS[name].unit](value)


def duration_text(seconds: float) -> str:
    """Write a length of time in its two largest units."""
    left = round(seconds)
    told: list[str] = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if left >= size or (name == "s" and not told):
            told.append(f"{left // size} {name}")
            left %= size
    return " ".join(told[:2])


def _ratio_text(value: float) -> str:
    return f"{value:.1e}" if 0.0 < abs(value) < 1e-3 else f"{value:,.4f}"


def _r_text(value: float | list[float]) -> str:
    return " to ".join(f"{each:+.4f}" for each in value) if isinstance(value, list) else f"{value:+,.4f}"


_WRITERS: dict[Unit, Callable[[Any], str]] = {
    Unit.COUNT: lambda value: f"{value:,}",
    Unit.FRACTION: lambda value: f"{100.0 * value:.2f} %",
    Unit.PERCENT: lambda value: f"{value:,.2f} %",
    Unit.R: _r_text,
    Unit.QUOTE: lambda value: f"{value:,.2f}",
    Unit.SECONDS: duration_text,
    Unit.RATIO: _ratio_text,
    Unit.TIME: str,
}
