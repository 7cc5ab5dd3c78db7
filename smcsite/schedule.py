"""What is done again and again, and how often. The scheduler only puts it on a queue; workers do it."""

from typing import Any


def _every(seconds: float, task: str, *, queue: str) -> dict[str, Any]:
    # A tick that nobody took before the next one comes is worth nothing any more.
    return {"task": task, "schedule": seconds, "options": {"queue": queue, "expires": max(seconds, 10.0)}}


QUEUES = ("exchange", "backtest", "scan")

SCHEDULE = {
    # Jobs whose worker was lost, and jobs that wait for the broker: on the queue that nothing long ever fills.
    "dispatch backfills": _every(10, "markets.tasks.dispatch_backfills", queue="scan"),
    "dispatch studies": _every(10, "signals.tasks.dispatch_studies", queue="scan"),
    "dispatch backtests": _every(10, "backtests.tasks.dispatch_backtests", queue="scan"),
    "scan": _every(60, "scanner.tasks.scan_all", queue="scan"),
    "backfill": _every(3_600, "markets.tasks.backfill_all", queue="scan"),
    "refresh pairs": _every(3_600, "markets.tasks.refresh_pairs", queue="exchange"),
}
