"""The ledger in the Django admin: to look at, never to edit."""

from django.contrib import admin
from django.http import HttpRequest

from signals.models import PublishedSignal


@admin.register(PublishedSignal)
class PublishedSignalAdmin(admin.ModelAdmin):
    list_display = (
        "symbol", "timeframe", "scale", "kind", "direction", "confirm_time", "published_at", "latency_ms", "is_late",
        "revised_at",
    )  # fmt: skip
    list_filter = ("kind", "timeframe", "scale", "is_late", "direction")
    search_fields = ("symbol",)
    date_hierarchy = "published_at"
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: PublishedSignal | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: PublishedSignal | None = None) -> bool:
        return False
