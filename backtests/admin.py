"""Backtests in the Django admin: to look at and to cancel."""

from django.contrib import admin

from backtests.models import Analysis, AnalysisPart, Backtest
from markets.admin import JobAdmin


@admin.register(Backtest)
class BacktestAdmin(JobAdmin):
    list_display = ("id", "symbol", "timeframe", "strategy", "state", "progress", "attempts", "created_at", "owner")
    list_filter = (*JobAdmin.list_filter, "strategy", "timeframe", "is_quick")
    search_fields = ("symbol", "note")


class AnalysisPartInline(admin.TabularInline):
    model = AnalysisPart
    fields = ("number", "finished_at", "spec")
    readonly_fields = fields
    extra = 0
    can_delete = False


@admin.register(Analysis)
class AnalysisAdmin(JobAdmin):
    list_display = ("id", "method", "symbol", "timeframe", "strategy", "state", "progress", "attempts", "created_at")
    list_filter = (*JobAdmin.list_filter, "method", "strategy", "timeframe")
    search_fields = ("symbol", "note")
    inlines = (AnalysisPartInline,)
