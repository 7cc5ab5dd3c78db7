"""The exchange's own controls below ``/replay/``: its clock, its faults, what goes on in it."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from markets.errors import InvalidInputError
from markets.replay.clock import VirtualClock
from markets.replay.director import Director
from markets.replay.faults import Faults, read_moment
from markets.replay.feed import Feed
from markets.replay.market import Market
from markets.replay.rest import json_response

Handler = Callable[[Request], Awaitable[Any]]


@dataclass(slots=True)
class Control:
    """Reads and changes a running exchange. ``usual_speed`` is what a pause ends in."""

    market: Market
    clock: VirtualClock
    faults: Faults
    feed: Feed
    director: Director
    requests: Counter[str]
    usual_speed: float = 1.0

    def routes(self) -> list[Route]:
        return [
            Route("/replay/status", _answered(self._status), methods=["GET"]),
            Route("/replay/clock", _answered(self._get_clock), methods=["GET"]),
            Route("/replay/clock", _answered(self._set_clock), methods=["POST"]),
            Route("/replay/faults", _answered(self._list_faults), methods=["GET"]),
            Route("/replay/faults", _answered(self._add_faults), methods=["POST"]),
            Route("/replay/faults", _answered(self._end_faults), methods=["DELETE"]),
            Route("/replay/faults/{number:int}", _answered(self._end_faults), methods=["DELETE"]),
        ]

    async def _status(self, request: Request) -> dict[str, Any]:
        connections = sorted(self.director.connections, key=lambda each: each.opened_at)
        return {
            "market": self.market.name,
            "symbols": list(self.market.listings),
            "clock": self._clock(),
            "connections": [{"opened_at": each.opened_at, "streams": list(each.streams)} for each in connections],
            "connections_made": self.director.connections_made,
            "frames_sent": self.feed.frames_sent,
            "requests": dict(self.requests),
            "faults": len(list(self.faults)),
        }

    async def _get_clock(self, request: Request) -> dict[str, Any]:
        return self._clock()

    async def _set_clock(self, request: Request) -> dict[str, Any]:
        wanted = await _body(request)
        unknown = set(wanted) - {"now", "speed", "paused"}
        if unknown:
            raise InvalidInputError(f"the clock takes now, speed and paused, not {', '.join(sorted(unknown))}")
        clock = self.clock
        speed = _speed(wanted.get("speed"))
        if wanted.get("paused") is not None:
            speed = 0.0 if wanted["paused"] else speed or clock.speed or self.usual_speed
        self.usual_speed = speed or clock.speed or self.usual_speed
        now = read_moment(wanted["now"], now=clock.now()) if wanted.get("now") is not None else None
        clock.set(now=now, speed=speed)
        if now is not None:
            self.feed.restart()
        else:
            self.feed.wake()
        return self._clock()

    async def _list_faults(self, request: Request) -> list[dict[str, Any]]:
        return [fault.as_json() for fault in self.faults]

    async def _add_faults(self, request: Request) -> Any:
        wanted = await _body(request, kind=(dict, list))
        if isinstance(wanted, list):
            return [self.faults.add(each).as_json() for each in wanted]
        return self.faults.add(wanted).as_json()

    async def _end_faults(self, request: Request) -> list[dict[str, Any]]:
        return [fault.as_json() for fault in self.faults.remove(request.path_params.get("number"))]

    def _clock(self) -> dict[str, Any]:
        clock = self.clock
        return {"now": clock.now(), "speed": clock.speed, "paused": clock.speed == 0, "end": clock.end}


def _answered(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return json_response(await handler(request))
        except InvalidInputError as error:
            return json_response({"error": str(error)}, status=422)

    return endpoint


async def _body(request: Request, *, kind: type | tuple[type, ...] = dict) -> Any:
    try:
        body = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"the body must be JSON: {error}") from None
    items = body if isinstance(body, list) else [body]
    if not isinstance(body, kind) or not all(isinstance(each, Mapping) for each in items):
        raise InvalidInputError("the body must be a JSON object")
    return body


def _speed(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100_000:
        raise InvalidInputError(f"speed must be a number from 0 to 100000, was {str(value)[:40]!r}")
    return float(value)
