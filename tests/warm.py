"""Imported once by the process that the service's are forked from: what they need and what needs no settings."""

import asyncio  # noqa: F401

import celery.apps.worker
import celery.bin.celery
import celery.concurrency.prefork
import celery.worker.consumer  # noqa: F401
import channels.routing
import channels.worker  # noqa: F401
import django.contrib.postgres.fields
import django.core.handlers.asgi
import django.core.management  # noqa: F401
import kombu.transport.redis  # noqa: F401
import pandas as pd  # noqa: F401
import prometheus_client  # noqa: F401
import psycopg  # noqa: F401
import pyarrow.parquet  # noqa: F401
import requests  # noqa: F401
import rest_framework.serializers  # noqa: F401
import uvicorn.protocols.http.h11_impl
import uvicorn.protocols.websockets.websockets_sansio_impl  # noqa: F401
import websocket  # noqa: F401

import backtests.engine.run  # noqa: F401
from signals.engine import SCALES, Detector, scale_params
from tests import compiling
from tests.factories import walk

compiling.await_end()
for _scale in SCALES:
    _detector = Detector(scale_params(_scale))
    _candles = walk(1, 200)
    _detector.run(_candles.first(100))
    for _candle in _candles.take(slice(100, None)):
        _detector.step(_candle)
