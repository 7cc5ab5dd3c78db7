"""A run's result: cards, curves, trades, months, breakdowns, parameters; and several runs side by side."""

from pathlib import Path
from typing import Any

import numpy as np
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from backtests.engine.bench import better
from backtests.engine.breakdowns import FEW
from backtests.engine.glossary import SECTIONS
from backtests.engine.spec import parameters_for
from backtests.models import Backtest
from backtests.reports import TRADES, read_columns, row_count
from backtests.selectors import all_backtests, capital_of, compared, report_folder
from backtests.views.curves import curve, monthly
from backtests.views.runs import with_figures
from markets.errors import InvalidInputError, SmcError
from markets.selectors import find_job
from markets.serializers import row_number
from markets.series import Timeframe
from markets.views import page

TABS = {
    "overview": "Overview",
    "trades": "Trades",
    "monthly": "Monthly",
    "groups": "Breakdowns",
    "parameters": "Parameters",
}
CARDS = (
    "return_pct", "max_drawdown_pct", "trades", "win_rate", "profit_factor", "expectancy_r", "sharpe", "cagr_pct",
)  # fmt: skip
_COMPARED = (
    "return_pct", "net_profit", "cagr_pct", "max_drawdown_pct", "trades", "win_rate", "profit_factor", "expectancy_r",
    "total_r", "sqn", "sharpe", "sortino", "calmar", "exposure", "fees", "ambiguous_share",
)  # fmt: skip
# Groups of breakdowns that people know in an order of their own.
_ORDER = (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "low", "normal", "high",
    "Asia", "London", "New York",
)  # fmt: skip
_TRADES_SHOWN, _MOST_COMPARED, _HOLES_SHOWN = 100, 4, 200


@require_GET
def backtest(request: HttpRequest, job_id: int) -> HttpResponse:
    """One run: its result when it is done, its progress before."""
    run = find_job(request.user, with_figures(all_backtests()), job_id)
    tab = request.GET.get("tab", "overview")
    tab = tab if tab in TABS else "overview"
    part = f"backtests/_tab_{tab}.html"
    context: dict[str, Any] = {"run": run, "tab": tab, "tabs": TABS.items(), "symbols": run.symbol.split(",")}
    context["tab_part"] = part
    if run.state == "done":
        context |= _result(request, run, tab)
    parts = {"tab": part, f"job-{run.pk}": "backtests/_run.html", "report": "backtests/_report.html"}
    return page(request, "backtests/backtest.html", context, parts=parts)


def _result(request: HttpRequest, run: Backtest, tab: str) -> dict[str, Any]:
    told: dict[str, Any] = {"metrics": run.result, "cards": CARDS, "sections": SECTIONS.items(), "few": FEW}
    told |= {"holes": _holes(run), "days": (run.end - run.start) // Timeframe.D1.milliseconds}
    try:
        folder = report_folder(run)
        if tab == "overview":
            told["curve"] = curve(folder, run)
        elif tab == "trades":
            told |= _trades(request, run, folder)
        elif tab == "monthly":
            told["months"] = monthly(folder, capital=capital_of(run))
        elif tab == "groups":
            groups = (run.result or {}).get("breakdowns", {})
            told["breakdowns"] = {name: sorted(rows, key=_place) for name, rows in groups.items()}
        elif tab == "parameters":
            told["parameters"] = parameters_for(run.strategy, compared=run.spec.get("compared")).values()
    except SmcError as error:
        told["problem"] = str(error)
    return told


def _holes(run: Backtest) -> dict[str, Any] | None:
    """Return where the run's candles have holes, and how much that is; None where they have none."""
    metrics = run.result or {}
    step = Timeframe(run.timeframe).milliseconds
    holes = [
        {"symbol": symbol, "start": start, "end": end, "seconds": (end - start) / 1000, "count": (end - start) // step}
        for symbol, start, end in metrics.get("provenance", {}).get("holes", [])
    ]
    if not holes:
        return None
    missing = sum(each["count"] for each in holes)
    return {
        "all": holes[:_HOLES_SHOWN],
        "number": len(holes),
        "missing": missing,
        "share": missing / max(1, len(run.symbol.split(",")) * ((run.end - run.start) // step)),
        "refused": metrics.get("rejected", {}).get("data_gap", 0),
        "left_out": max(0, len(holes) - _HOLES_SHOWN),
    }


def _place(row: dict[str, Any]) -> int:
    """Return where a group stands among its like; what has no natural order stays as it is."""
    return _ORDER.index(row["group"]) if row["group"] in _ORDER else len(_ORDER)


def _trades(request: HttpRequest, run: Backtest, folder: Path) -> dict[str, Any]:
    number = max(1, row_number(request.GET.get("page", "")) or 1)
    total = row_count(folder, TRADES)
    start = min((number - 1) * _TRADES_SHOWN, max(0, total - 1))
    columns = read_columns(folder, TRADES, start=start, count=_TRADES_SHOWN)
    names = list(columns)
    only = _traded_pair(run)
    charts = {symbol: reverse("chart", args=[symbol, run.timeframe]) for symbol in run.symbol.split(",")}
    rows = [dict(zip(names, row, strict=True)) for row in zip(*(_plain(columns[name]) for name in names), strict=True)]
    for row in rows:
        symbol = row.setdefault("symbol", only)
        row["is_long"] = row["direction"] == "long"
        row["href"] = f"{charts[symbol]}?run={run.pk}#t={row['trade']}"
    return {
        "trades": rows,
        "has_pairs": len(charts) > 1,
        "total": total,
        "page_number": number,
        "next_page": number + 1 if start + _TRADES_SHOWN < total else None,
    }


def _traded_pair(run: Backtest) -> str:
    """Return the pair of all trades of a report that names none: of several pairs, in old ones, one alone traded."""
    traded = (run.result or {}).get("breakdowns", {}).get("symbol")
    return traded[0]["group"] if traded else run.symbol.split(",")[0]


def _plain(column: Any) -> list[Any]:
    """Return a column's values as Python has them, None where there is none."""
    values = column.tolist()
    return [None if isinstance(value, float) and np.isnan(value) else value for value in values]


@require_GET
def compare(request: HttpRequest) -> HttpResponse:
    """Two to four runs side by side."""
    texts = [text for given in request.GET.getlist("ids") for text in given.split(",") if text]
    numbers = [row_number(text) for text in texts]
    ids = list(dict.fromkeys(number for number in numbers if number is not None))[:_MOST_COMPARED]
    if None in numbers:
        raise InvalidInputError("ids are numbers of runs, separated by commas", field="ids")
    runs = [find_job(request.user, all_backtests(), each) for each in ids]
    done = [run for run in runs if run.state == "done"]
    context: dict[str, Any] = {"runs": done, "left_out": [run for run in runs if run.state != "done"]}
    if len(done) >= 2:
        told = compared(done)
        context |= {
            "rows": _rows(done),
            "are_of_one_series": len({(run.symbol, run.timeframe) for run in done}) == 1,
            "curves": _curves(done),
            **{name: told[name] for name in ("differences", "same_range", "same_candles")},
        }
    return page(request, "backtests/compare.html", context)


def _rows(runs: list[Backtest]) -> list[dict[str, Any]]:
    rows = []
    for name in _COMPARED:
        values = [(run.result or {}).get(name) for run in runs]
        known = [value for value in values if isinstance(value, int | float)]
        best = max(known, key=lambda value: better(name, value), default=None)
        is_telling = len(set(known)) > 1 and name not in ("trades", "exposure", "fees")
        rows.append(
            {
                "name": name,
                "values": [(run, value, is_telling and value == best) for run, value in zip(runs, values, strict=True)],
            }
        )
    return rows


def _curves(runs: list[Backtest]) -> dict[str, Any]:
    """Return the equity of each run as percent of its capital."""
    lines = []
    for run in runs:
        try:
            points = curve(report_folder(run), run, with_hold=False)["equity"]
        except SmcError:
            continue
        capital = capital_of(run)
        lines.append(
            {"name": f"#{run.pk} {run.strategy}", "points": [[at, 100 * value / capital] for at, value, _ in points]}
        )
    return {"lines": lines}
