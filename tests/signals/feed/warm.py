"""Imported once by the process that stream workers are forked from: what they need and what needs no settings."""

import asyncio  # noqa: F401

import celery  # noqa: F401
import channels.worker  # noqa: F401
import django.core.management  # noqa: F401
import pandas as pd  # noqa: F401
import prometheus_client  # noqa: F401
import psycopg  # noqa: F401
import pyarrow.parquet  # noqa: F401
import requests  # noqa: F401
import rest_framework  # noqa: F401
import websocket  # noqa: F401

import signals.log  # noqa: F401
from signals.engine import SCALES, Detector, scale_params
from tests.factories import walk

for _scale in SCALES:
    _detector = Detector(scale_params(_scale))
    _candles = walk(1, 200)
    _detector.run(_candles.first(100))
    for _candle in _candles.take(slice(100, None)):
        _detector.step(_candle)
