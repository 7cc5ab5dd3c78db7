"""URLs of backtests: ``api`` below /api/v1/, ``pages`` below /web/."""

from django.urls import URLPattern, path

from backtests.api.analyses import (
    AnalysisCancelView,
    AnalysisListView,
    AnalysisView,
    BandsView,
    CompareView,
    SweepCancelView,
    SweepListView,
    SweepView,
)
from backtests.api.runs import (
    BacktestCancelView,
    BacktestListView,
    BacktestNowView,
    BacktestView,
    EquityView,
    ReportView,
    TradesView,
)
from backtests.views.reports import backtest, compare
from backtests.views.runs import backtest_job, backtest_list, cancel_backtest, estimate
from backtests.views.sweeps import analysis, cancel_analysis

api: list[URLPattern] = [
    path("backtest/", BacktestNowView.as_view(), name="api-backtest-now"),
    path("backtests/", BacktestListView.as_view(), name="api-backtests"),
    path("backtests/compare/", CompareView.as_view(), name="api-backtest-compare"),
    path("backtests/<int:job_id>/", BacktestView.as_view(), name="api-backtest"),
    path("backtests/<int:job_id>/cancel", BacktestCancelView.as_view(), name="api-backtest-cancel"),
    path("backtests/<int:job_id>/trades/", TradesView.as_view(), name="api-backtest-trades"),
    path("backtests/<int:job_id>/equity/", EquityView.as_view(), name="api-backtest-equity"),
    path("backtests/<int:job_id>/report.csv", ReportView.as_view(), name="api-backtest-report"),
    path("backtests/<int:job_id>/bands/", BandsView.as_view(), name="api-backtest-bands"),
    path("sweeps/", SweepListView.as_view(), name="api-sweeps"),
    path("sweeps/<int:job_id>/", SweepView.as_view(), name="api-sweep"),
    path("sweeps/<int:job_id>/cancel", SweepCancelView.as_view(), name="api-sweep-cancel"),
    path("analyses/", AnalysisListView.as_view(), name="api-analyses"),
    path("analyses/<int:job_id>/", AnalysisView.as_view(), name="api-analysis"),
    path("analyses/<int:job_id>/cancel", AnalysisCancelView.as_view(), name="api-analysis-cancel"),
]

pages: list[URLPattern] = [
    path("backtest", backtest_list, name="backtests"),
    path("backtest/estimate", estimate, name="backtest-estimate"),
    path("backtest/compare", compare, name="compare"),
    path("backtest/<int:job_id>", backtest, name="backtest"),
    path("backtest/sweep/<int:job_id>", analysis, name="sweep"),
    path("backtest/sweep/<int:job_id>/cancel", cancel_analysis, name="cancel-analysis"),
    path("backtest/<int:job_id>/job", backtest_job, name="backtest-job"),
    path("backtest/<int:job_id>/cancel", cancel_backtest, name="cancel-backtest"),
]
