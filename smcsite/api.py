"""The parts of the REST API that span all apps: status and socket tickets."""

from typing import Any

from django.urls import NoReverseMatch, get_resolver, reverse
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

import smcsite.schema  # noqa: F401 - its extensions are known once it is imported
from signals.push.status import read_status
from smcsite.heartbeats import running
from smcsite.security.tickets import TICKET_SECONDS, issue_ticket
from smcsite.version import VERSION

_PROCESS = inline_serializer(
    "Process",
    {"role": serializers.CharField(), "pid": serializers.IntegerField(), "host": serializers.CharField()},
    many=True,
)
_LAG = inline_serializer("Lag", {name: serializers.FloatField(allow_null=True) for name in ("p50", "p95", "p99")})
_SERIES = inline_serializer(
    "SeriesState",
    {
        "symbol": serializers.CharField(),
        "timeframe": serializers.CharField(),
        "state": serializers.ChoiceField(["live", "catching_up", "stale", "gapped", "halted", "down"]),
        "last_candle": serializers.DateTimeField(allow_null=True),
        "lag_ms": serializers.FloatField(allow_null=True),
        "stage": serializers.CharField(help_text="What is being done for it; empty when it is up to date."),
        "held": serializers.CharField(help_text="The gap, from..to, for which its signals are held; empty: none."),
        "error": serializers.CharField(),
    },
    many=True,
)
_LEADERS = inline_serializer(
    "Leader",
    {
        "host": serializers.CharField(),
        "pid": serializers.IntegerField(),
        "shard": serializers.CharField(help_text="IofN: the part of the pairs that it follows."),
        "epoch": serializers.IntegerField(help_text="Rises with each change of leadership."),
    },
    many=True,
)
_STATUS = inline_serializer(
    "Status",
    {
        "version": serializers.CharField(),
        "source": serializers.ChoiceField(["binance", "replay"]),
        "state": serializers.ChoiceField(["live", "catching_up", "down"]),
        "paused": serializers.BooleanField(help_text="No stream process speaks: it is we who are silent."),
        "error": serializers.CharField(),
        "leader": serializers.CharField(allow_null=True, help_text="host:pid of the first shard's."),
        "leaders": _LEADERS,
        "exchange_time": serializers.DateTimeField(allow_null=True),
        "series": _SERIES,
        "rejected_frames": serializers.IntegerField(),
        "rejected_candles": serializers.IntegerField(),
        "reconnects": serializers.IntegerField(),
        "connections": serializers.IntegerField(help_text="Open ones to the exchange."),
        "published": serializers.IntegerField(help_text="Messages sent to sockets."),
        "clock_skew_ms": serializers.FloatField(allow_null=True),
        "queue_depth": serializers.IntegerField(),
        "disk_free_bytes": serializers.IntegerField(),
        "lag_ms": _LAG,
        "processes": _PROCESS,
    },
)


class RootView(APIView):
    """What the API has."""

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        names = sorted(
            name
            for name in get_resolver().reverse_dict
            if isinstance(name, str) and name.startswith("api-") and name != "api-root"
        )
        return Response({name.removeprefix("api-"): url for name in names if (url := _url_of(name, request))})


def _url_of(name: str, request: Request) -> str | None:
    try:
        return request.build_absolute_uri(reverse(name))
    except NoReverseMatch:
        return None  # it needs an id


class StatusView(APIView):
    """The live path and the processes: what each series is doing, how far behind, and who runs."""

    @extend_schema(operation_id="status", responses=_STATUS)
    def get(self, request: Request) -> Response:
        told: dict[str, Any] = read_status()
        return Response({"version": VERSION, **told, "processes": running(told)})


class SocketTicketView(APIView):
    """A ticket that opens one socket: ``/ws/live/?ticket=...``, for pages of other origins that cannot send headers."""

    @extend_schema(
        operation_id="socket_ticket",
        request=None,
        responses={
            201: inline_serializer(
                "SocketTicket", {"ticket": serializers.CharField(), "expires_in": serializers.IntegerField()}
            )
        },
    )
    def post(self, request: Request) -> Response:
        return Response({"ticket": issue_ticket(request), "expires_in": TICKET_SECONDS}, status=201)
