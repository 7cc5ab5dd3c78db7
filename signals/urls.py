"""URLs of signals: ``api`` below /api/v1/, ``pages`` below /web/."""

from django.urls import URLPattern

api: list[URLPattern] = []

pages: list[URLPattern] = []
