"""URLs of backtests: ``api`` below /api/v1/, ``pages`` below /web/."""

from django.urls import URLPattern, path

from backtests.views import backtest_list

api: list[URLPattern] = []

pages: list[URLPattern] = [
    path("backtest", backtest_list, name="backtests"),
]
