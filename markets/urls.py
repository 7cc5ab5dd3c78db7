"""URLs of markets: ``api`` below /api/v1/, ``pages`` below /web/."""

from django.urls import URLPattern, path

from markets.api.backfills import BackfillCancelView, BackfillListView, BackfillView
from markets.api.candles import CandleView
from markets.api.pairs import PairListView
from markets.views import backfill_job, cancel_backfill, change_pair, data, pair_list

api: list[URLPattern] = [
    path("pairs/", PairListView.as_view(), name="api-pairs"),
    path("candles/", CandleView.as_view(), name="api-candles"),
    path("backfills/", BackfillListView.as_view(), name="api-backfills"),
    path("backfills/<int:job_id>/", BackfillView.as_view(), name="api-backfill"),
    path("backfills/<int:job_id>/cancel", BackfillCancelView.as_view(), name="api-backfill-cancel"),
]

pages: list[URLPattern] = [
    path("data", data, name="data"),
    path("data/jobs/<int:job_id>", backfill_job, name="backfill-job"),
    path("data/jobs/<int:job_id>/cancel", cancel_backfill, name="cancel-backfill"),
    path("pairs", pair_list, name="pairs"),
    path("pairs/<str:symbol>", change_pair, name="pair"),
]
