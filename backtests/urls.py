"""URLs of backtests: ``api`` below /api/v1/, ``pages`` below /web/."""

from django.urls import URLPattern, path

from backtests.views.reports import backtest, compare
from backtests.views.runs import backtest_job, backtest_list, cancel_backtest, estimate

api: list[URLPattern] = []

pages: list[URLPattern] = [
    path("backtest", backtest_list, name="backtests"),
    path("backtest/estimate", estimate, name="backtest-estimate"),
    path("backtest/compare", compare, name="compare"),
    path("backtest/<int:job_id>", backtest, name="backtest"),
    path("backtest/<int:job_id>/job", backtest_job, name="backtest-job"),
    path("backtest/<int:job_id>/cancel", cancel_backtest, name="cancel-backtest"),
]
