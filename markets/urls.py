"""URLs of markets: ``api`` below /api/v1/, ``pages`` below /web/."""

from django.urls import URLPattern, path

from markets.api.backfills import BackfillCancelView, BackfillListView, BackfillView
from markets.api.candles import CandleView
from markets.api.pairs import PairListView

api: list[URLPattern] = [
    path("pairs/", PairListView.as_view(), name="api-pairs"),
    path("candles/", CandleView.as_view(), name="api-candles"),
    path("backfills/", BackfillListView.as_view(), name="api-backfills"),
    path("backfills/<int:job_id>/", BackfillView.as_view(), name="api-backfill"),
    path("backfills/<int:job_id>/cancel", BackfillCancelView.as_view(), name="api-backfill-cancel"),
]

pages: list[URLPattern] = []
