"""What a process loads before it does anything: a command starts quickly because it takes only what it needs."""

import json
import subprocess
import sys

import pytest
from django.conf import settings

_STARTED = """
import gc, json, sys, django
django.setup()
import signals.engine
seldom = ["celery", "rest_framework.views", "pandas", "requests", "scipy.special", "scipy.linalg"]
loaded = [name for name in seldom if name in sys.modules]
from markets.tasks import run_backfill
print(json.dumps([gc.isenabled(), loaded, run_backfill.app.main, run_backfill.app.conf.broker_url]))
"""


@pytest.mark.processes
def test_a_started_process_has_only_what_it_needs_and_loads_the_queue_when_it_puts_work_on_it() -> None:
    started = subprocess.run([sys.executable, "-c", _STARTED], cwd=settings.BASE_DIR, capture_output=True, check=True)
    assert json.loads(started.stdout) == [True, [], "smcsite", settings.CELERY_BROKER_URL]
