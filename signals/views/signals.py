"""The explorer of signals, and one signal with its story."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET
from rest_framework.exceptions import ValidationError

from markets.errors import InvalidInputError
from markets.selectors import known_series, require_pair
from markets.series import Timeframe
from markets.views import page
from signals import selectors
from signals.engine import SCALES
from signals.engine.kinds import STATUS_TEXT
from signals.selectors.story import SignalStory, story
from signals.serializers import SignalQuery
from signals.views.chart import OVERLAYS

_ROWS_SHOWN = 50


@require_GET
def signal_list(request: HttpRequest) -> HttpResponse:
    """The explorer: filter, page, download. Every filter is in the URL."""
    given = {name: values for name, values in request.GET.lists() if any(values)}
    context: dict[str, Any] = {
        "given": {name: ",".join(values) for name, values in given.items()},
        "kinds": [kind for kinds in OVERLAYS.values() for kind in kinds],
        "statuses": STATUS_TEXT,
        "scales": list(SCALES),
        "timeframes": [each.value for each in Timeframe],
        "symbols": list(dict.fromkeys(key.symbol for key in known_series())),
        "errors": {},
    }
    context["chosen_kinds"] = context["given"].get("kind", "").split(",")
    answer = 200
    try:
        context |= _found(given, is_oldest_first=request.GET.get("sort") == "oldest")
    except InvalidInputError as error:
        context["errors"], answer = {error.field or "form": [str(error)]}, 422
    except ValidationError as error:
        context["errors"], answer = error.detail, 422
    return page(request, "signals/signals.html", context, parts={"results": "signals/_results.html"}, status=answer)


def _found(given: dict[str, list[str]], *, is_oldest_first: bool) -> dict[str, Any]:
    own = {name for name in ("sort", "page") if name in given}
    asked = {name: ",".join(values) for name, values in given.items() if name not in own}
    query = SignalQuery(data=asked)
    query.is_valid(raise_exception=True)
    filter_ = query.to_filter()
    if filter_.symbol is not None:
        require_pair(filter_.symbol)
    found = selectors.signals(
        filter_,
        limit=query.validated_data.get("limit", _ROWS_SHOWN),
        cursor=query.validated_data.get("cursor"),
        newest_first=not is_oldest_first,
    )
    return {"rows": found.rows, "next_cursor": found.next_cursor, "total": selectors.total(filter_)}


@require_GET
def signal(request: HttpRequest, signal_id: str) -> HttpResponse:
    """One signal: what led to it, what it is, what became of it."""
    told: SignalStory = story(selectors.signal(signal_id))
    return page(request, "signals/signal.html", {"story": told}, parts={"drawer": "signals/_drawer.html"})
