"""Celery: the app, its settings, and the schedule. Tasks live in each app's ``tasks``."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smcsite.settings")

app = Celery("smcsite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
