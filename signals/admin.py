"""The ledger in the Django admin: to look at, never to edit."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest

from markets.series import Timeframe
from signals.engine import SCALES, Kind
from signals.models import PublishedSignal


class _OfKnown(admin.SimpleListFilter):
    """A filter by a field whose values are known: to ask for those that occur would read the whole ledger."""

    parameter_name: str
    known: dict[str, str]  # what is shown for each value

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(self.known.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[PublishedSignal]) -> QuerySet[PublishedSignal]:
        chosen = self.value()
        if chosen is None:
            return queryset
        if chosen not in self.known:
            raise IncorrectLookupParameters(f"{self.parameter_name} must be one of {', '.join(self.known)}")
        return queryset.filter(**{self.parameter_name: chosen})


class _Kind(_OfKnown):
    title = parameter_name = "kind"
    known = {kind.name: kind.name for kind in sorted(Kind, key=lambda kind: kind.name)}


class _Timeframe(_OfKnown):
    title = parameter_name = "timeframe"
    known = {each.value: each.value for each in Timeframe}


class _Scale(_OfKnown):
    title = parameter_name = "scale"
    known = {name: name for name in SCALES}


class _Direction(_OfKnown):
    title = parameter_name = "direction"
    known = {"1": "bullish", "-1": "bearish"}


@admin.register(PublishedSignal)
class PublishedSignalAdmin(admin.ModelAdmin):
    list_display = (
        "symbol", "timeframe", "scale", "kind", "direction", "confirm_time", "published_at", "latency_ms", "is_late",
        "revised_at",
    )  # fmt: skip
    list_filter = (_Kind, _Timeframe, _Scale, "is_late", _Direction)
    search_fields = ("symbol",)
    # There is an index of this order and none of the clock's. For the same reason no dates stand above the list.
    ordering = ("-confirm_time", "-id")
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: PublishedSignal | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: PublishedSignal | None = None) -> bool:
        return False
