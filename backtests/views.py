"""Pages about backtests."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from markets.views import page


@require_GET
def backtest_list(request: HttpRequest) -> HttpResponse:
    """Runs, and the form for a new one."""
    return page(request, "backtests/backtests.html", {})
