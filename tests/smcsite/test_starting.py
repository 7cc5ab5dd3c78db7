"""What a process loads before it does anything: a command starts quickly because it takes only what it needs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from smcsite.embedded import free_port
from tests.environment import service_variables
from tests.waiting import eventually

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


def _has_loaded(pid: int, library: str) -> bool:
    return f"/{library}/" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.processes
def test_a_web_server_that_is_told_to_end_while_it_loads_its_views_ends_as_it_should(tmp_path: Path) -> None:
    variables = service_variables(tmp_path, API_HOST="127.0.0.1", API_PORT=str(free_port()))
    web = subprocess.Popen([sys.executable, "-m", "smcsite.web"], cwd=settings.BASE_DIR, env=variables)
    # The views need it.
    eventually(lambda: _has_loaded(web.pid, "numpy"))
    web.terminate()
    assert web.wait(20) == 0
