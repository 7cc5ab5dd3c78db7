"""The market in the Django admin: pairs, series, backfills, revisions."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from markets.errors import ConflictError
from markets.models import Backfill, ExchangeGap, Job, Pair, Revision, Series
from markets.services.jobs import request_cancel


class SeriesInline(admin.TabularInline):
    model = Series
    fields = ("timeframe", "is_active", "history_from", "error")
    readonly_fields = ("error",)
    extra = 0


@admin.register(Pair)
class PairAdmin(admin.ModelAdmin):
    list_display = ("symbol", "base_asset", "quote_asset", "status", "is_active", "refreshed_at", "chart")
    list_filter = ("is_active", "status", "quote_asset")
    search_fields = ("symbol", "base_asset")
    readonly_fields = ("status", "refreshed_at", "created_at")
    inlines = (SeriesInline,)
    actions = ("activate", "deactivate", "fetch_history")

    @admin.display(description="Chart")
    def chart(self, pair: Pair) -> SafeString:
        return format_html('<a href="/web/chart/{}/15m">chart</a>', pair.symbol)

    @admin.action(description="Stream the selected pairs")
    def activate(self, request: HttpRequest, pairs: QuerySet[Pair]) -> None:
        self.message_user(request, f"{pairs.update(is_active=True)} pairs are streamed from now on")

    @admin.action(description="Stop streaming the selected pairs")
    def deactivate(self, request: HttpRequest, pairs: QuerySet[Pair]) -> None:
        self.message_user(request, f"{pairs.update(is_active=False)} pairs are no longer streamed")

    @admin.action(description="Fetch missing history of the selected pairs")
    def fetch_history(self, request: HttpRequest, pairs: QuerySet[Pair]) -> None:
        # Every command reads the admin's modules, and few need the clients of exchanges that backfills bring along.
        from markets.tasks import submit_backfill  # noqa: PLC0415

        count = 0
        for pair in pairs.prefetch_related("series"):
            for row in pair.series.all():
                submit_backfill(Backfill(symbol=pair.symbol, timeframe=row.timeframe, spec={"asked_in": "admin"}))
                count += 1
        self.message_user(request, f"{count} backfills queued")


@admin.register(Series)
class SeriesAdmin(admin.ModelAdmin):
    list_display = ("pair", "timeframe", "is_active", "error")
    list_filter = ("timeframe", "is_active")
    list_select_related = ("pair",)
    search_fields = ("pair__symbol",)
    autocomplete_fields = ("pair",)
    readonly_fields = ("first_available", "error")


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that people look at and nobody edits."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return False


class JobAdmin(ReadOnlyAdmin):
    """What the admin of every kind of job shows and does."""

    list_filter: ClassVar[Any] = ("state",)
    list_select_related = ("owner",)
    date_hierarchy = "created_at"
    actions = ("cancel",)

    # Django asks for the change permission before it offers actions; looking is enough to cancel here.
    @admin.action(description="Cancel the selected jobs", permissions=["view"])
    def cancel(self, request: HttpRequest, jobs: QuerySet[Job]) -> None:
        count = 0
        for job in jobs:
            try:
                request_cancel(job.pk)
            except ConflictError as error:
                self.message_user(request, str(error), level=messages.WARNING)
            else:
                count += 1
        self.message_user(request, f"{count} jobs are being cancelled")


@admin.register(Backfill)
class BackfillAdmin(JobAdmin):
    list_display = ("id", "symbol", "timeframe", "state", "progress", "stage", "attempts", "created_at", "finished_at")
    search_fields = ("symbol", "note")
    list_filter = ("state", "timeframe")


@admin.register(ExchangeGap)
class ExchangeGapAdmin(ReadOnlyAdmin):
    list_display = ("series", "start", "end", "first_read_at", "proven_at")
    list_select_related = ("series__pair",)


@admin.register(Revision)
class RevisionAdmin(ReadOnlyAdmin):
    list_display = ("series", "open_time", "source", "created_at")
    list_select_related = ("series__pair",)
