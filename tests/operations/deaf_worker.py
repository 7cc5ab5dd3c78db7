"""A Celery worker with the service's watchdog, for tests: less patient, and on a queue that nobody else listens to."""

import os

from celery import Celery
from celery.signals import worker_ready
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smcsite.settings")

from smcsite import watchdog  # it reads settings

QUEUE = "unheard"

watchdog.BEAT_SECONDS = 0.1  # type: ignore[attr-defined]
watchdog.DEAF_AFTER_SECONDS = 1.0
app = Celery("deaf", broker=settings.CELERY_BROKER_URL)
app.conf.update(task_default_queue=QUEUE, worker_hijack_root_logger=False)
worker_ready.connect(lambda sender, **_: watchdog.start_watchdog(sender), weak=False)


@app.task(name="hear")
def hear() -> None:
    """Do nothing: to be taken is all that a message here is for."""
