"""How long a year of 1m takes into an empty store: ``python benchmarks/backfill.py [--quick]``.

A replay exchange serves archive and REST from a process of its own on the same machine; the clock is that of
``manage.py backfill`` from its start to its end, and the memory the most it ever held. ``--quick`` leaves REST out.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._service import ROOT, broker, exchange_urls, migrate, variables
from smcsite.embedded import free_port

YEAR = 525_600
RANGE = ("--from", "2023-01-01", "--to", "2024-01-01")


@contextmanager
def exchange(port: int) -> Iterator[None]:
    command = [sys.executable, "manage.py", "replay_exchange", "--symbols", "BTCUSDT", "--port", str(port)]
    command += ["--start", "2024-06-01", "--speed", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if "ready on" not in line:
            raise SystemExit(f"the replay exchange did not start: {line!r}")
        yield
    finally:
        process.terminate()
        process.wait(20)


def backfill(around: dict[str, str], source: str, output: Path) -> tuple[float, float]:
    """Run the command; return its seconds and the most memory it held, in MB."""
    began = time.monotonic()
    command = [sys.executable, "manage.py", "backfill", "--symbol", "BTCUSDT", "--tf", "1m", *RANGE, "--source", source]
    with output.open("w") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env=around, stdout=stream)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    told = output.read_text()
    if process.returncode or f"added={YEAR}" not in told:
        raise SystemExit(f"the backfill ended with {process.returncode}:\n{told[-2000:]}")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the archive only")
    options = parser.parse_args()
    print(f"{'a year of 1m, 525,600 candles':<34}{'seconds':>9}{'limit':>7}{'MB':>7}{'limit':>7}")
    with tempfile.TemporaryDirectory(prefix="smc-bench-") as name, broker(Path(name)) as redis_url:
        port = free_port()
        with exchange(port):
            for source, limit in [("auto", 8), *([] if options.quick else [("rest", 75)])]:
                around = variables(Path(name) / source, REDIS_URL=redis_url, **exchange_urls(port))
                migrate(around)
                seconds, megabytes = backfill(around, source, Path(name) / f"{source}.txt")
                print(f"{source:<34}{seconds:>9.1f}{limit:>7}{megabytes:>7.0f}{300:>7}", flush=True)


if __name__ == "__main__":
    main()
