"""A Celery worker with the service's watchdog, for tests: less patient, and on a queue that nobody else listens to.

One whose host name begins with ``DEAF`` is connected and takes nothing.
"""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_ready
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smcsite.settings")

from smcsite import watchdog  # it reads settings

QUEUE = "unheard"
DEAF = "deaf"

watchdog.BEAT_SECONDS = 0.1  # type: ignore[attr-defined]
watchdog.DEAF_AFTER_SECONDS = 1.0
app = Celery("deaf", broker=settings.CELERY_BROKER_URL)
app.conf.update(task_default_queue=QUEUE, worker_hijack_root_logger=False)


@worker_ready.connect
def _begin(sender: Any, **_: Any) -> None:
    watchdog.start_watchdog(sender)
    if sender.hostname.startswith(DEAF):
        sender.task_consumer.cancel_by_queue(QUEUE)  # and the worker still believes that it listens


@app.task(name="hear")
def hear() -> None:
    """Do nothing: to be taken is all that a message here is for."""
