"""The scanner's page: the volatility ranking, sortable, filterable."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from markets.series import Timeframe
from markets.views import page
from scanner.engine.volatility import Metric
from scanner.selectors import Ranked, ranking
from scanner.serializers import ranked_json

METRICS = {Metric.ATR: "ATR %", Metric.REALIZED: "Realised volatility", Metric.RANGE: "Range %"}
_COLUMNS = {
    "rank": "#",
    "symbol": "Pair",
    "atr_pct": "ATR %",
    "realized_vol": "Realised %",
    "range_pct": "Range %",
    "vs_median": "Against median",
    "relative_volume": "Volume",
    "last_close": "Last",
    "change_24h_pct": "24 h",
}
# A word sorts from A, a figure from the largest.
_ASCENDING = frozenset({"rank", "symbol"})


@require_GET
def scanner(request: HttpRequest) -> HttpResponse:
    """All stored pairs of one timeframe, the most volatile first."""
    asked = request.GET
    timeframe = Timeframe(asked["tf"]) if asked.get("tf") in set(Timeframe) else Timeframe.M15
    metric = Metric(asked["metric"]) if asked.get("metric") in set(Metric) else Metric.ATR
    found = ranking(timeframe, metric=metric)
    text = asked.get("q", "").strip().upper()[:20]
    rows = [
        {**ranked_json(row, found), "sparkline": row.volatility.sparkline}
        for row in found.rows
        if _fits(row, text, asked)
    ]
    sort = asked.get("sort", "rank")
    key, is_descending = sort.removeprefix("-"), sort.startswith("-")
    if key in _COLUMNS:
        known = [row for row in rows if row[key] is not None]
        unknown = [row for row in rows if row[key] is None]
        rows = sorted(known, key=lambda row: row[key], reverse=is_descending) + unknown
    context: dict[str, Any] = {
        "rows": rows,
        "skipped": found.skipped,
        "timeframe": timeframe.value,
        "timeframes": [each.value for each in Timeframe],
        "metric": metric.value,
        "metrics": METRICS.items(),
        "text": text,
        "bias": asked.get("bias", ""),
        "columns": [_column(name, title, key, is_descending=is_descending) for name, title in _COLUMNS.items()],
        "sort": sort,
    }
    return page(request, "scanner/scanner.html", context, parts={"results": "scanner/_results.html"})


def _fits(row: Ranked, text: str, asked: Any) -> bool:
    wanted = {"bull": 1, "bear": -1}.get(asked.get("bias", ""))
    return text in row.symbol and (wanted is None or row.volatility.bias == wanted)


def _column(name: str, title: str, sorted_by: str, *, is_descending: bool) -> dict[str, str]:
    """Return a column's head: how it is sorted now, and how a click sorts it."""
    is_current = name == sorted_by
    ascends_next = name in _ASCENDING if not is_current else is_descending
    return {
        "name": name,
        "title": title,
        "sorted": ("descending" if is_descending else "ascending") if is_current else "",
        "next": name if ascends_next else f"-{name}",
        "class": "" if name == "symbol" else "num",
    }
