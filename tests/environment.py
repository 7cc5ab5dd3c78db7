"""The environment of every test process, set before Django reads it (loaded by ``-p tests.environment``).

Nothing of the developer's own environment or ``.env`` reaches a test; data live in a folder of their own;
the cache, the broker and the channel layer are a real server on a port of its own.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from smcsite.child import FRUGAL
from smcsite.embedded import start_server
from smcsite.env import defaults
from tests.compiling import compile_in_turn

FOLDER = Path(tempfile.mkdtemp(prefix="smc-test-"))
NOWHERE = "127.0.0.1:9"  # the discard port: nothing answers, at once

_server = start_server(FOLDER / "redis")


def test_variables() -> dict[str, str]:
    """Return every variable of the service as tests see it."""
    return defaults() | {
        "MARKET_SOURCE": "binance",
        "BINANCE_REST_URL": f"http://{NOWHERE}",
        "BINANCE_WS_URL": f"ws://{NOWHERE}",
        "BINANCE_ARCHIVE_URL": f"http://{NOWHERE}",
        "DATA_DIR": str(FOLDER / "data"),
        "REPORTS_DIR": str(FOLDER / "reports"),
        "REDIS_URL": _server.url,
        "DJANGO_SECRET_KEY": "a-secret-key-of-the-tests-0123456789-0123456789",
        "RATE_LIMIT": "1000000/m",
    }


def service_variables(data: Path, **changes: str) -> dict[str, str]:
    """Return the environment of a process of the service whose data lie in ``data``."""
    house = {"DJANGO_SETTINGS_MODULE": "smcsite.settings", "DATA_DIR": str(data)}
    return {**os.environ, **test_variables(), **house, **changes}


os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each process that tests start compiles all modules anew
os.environ.update(FRUGAL | test_variables())
if "PYTEST_XDIST_WORKER" in os.environ:
    compile_in_turn()


@atexit.register
def _clean_up() -> None:
    _server.process.kill()
    _server.process.wait()
    shutil.rmtree(FOLDER, ignore_errors=True)
