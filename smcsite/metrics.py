"""``/metrics``: what a monitoring system wants to know of the whole service, read when it asks."""

from collections.abc import Iterator

from django.db import DatabaseError
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from redis.exceptions import RedisError

from markets.models import Job
from scanner.selectors import skipped_scans
from signals.push.status import read_status
from smcsite.health import checks, overall
from smcsite.heartbeats import redis_client
from smcsite.schedule import QUEUES
from smcsite.store_watch import OK


class ServiceCollector:
    """Reads the service's state at each scrape, so that nothing is counted twice over processes."""

    def collect(self) -> Iterator[Metric]:
        found = checks()
        health = GaugeMetricFamily("smc_check_ok", "1 where a part of the service is well.", labels=["check"])
        for name, each in found.items():
            health.add_metric([name], float(each.status == OK))
        yield health
        yield GaugeMetricFamily("smc_up", "1 unless the service is down.", value=float(overall(found) != "down"))
        yield from self._jobs()
        yield from self._queues()
        yield from self._scans()
        yield from self._live()

    def _jobs(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("smc_jobs", "Jobs by kind and state.", labels=["kind", "state"])
        try:
            for row in Job.objects.values("kind", "state").annotate(count=Count("id")).order_by():
                jobs.add_metric([row["kind"], row["state"]], row["count"])
        except DatabaseError:
            return
        yield jobs

    def _queues(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily("smc_queue_messages", "Messages that wait for a worker.", labels=["queue"])
        try:
            for queue in QUEUES:
                depth.add_metric([queue], redis_client(0).llen(queue))
        except (RedisError, OSError):
            return
        yield depth

    def _scans(self) -> Iterator[Metric]:
        count = skipped_scans()
        if count is not None:
            yield CounterMetricFamily(
                "smc_scans_skipped", "Scans left out because the one before still ran.", value=count
            )

    def _live(self) -> Iterator[Metric]:
        told = read_status()
        states = GaugeMetricFamily("smc_series", "Series by the state of their live path.", labels=["state"])
        for state in sorted({row["state"] for row in told["series"]}):
            states.add_metric([state], sum(row["state"] == state for row in told["series"]))
        yield states
        lag = GaugeMetricFamily("smc_lag_milliseconds", "From a candle's close to its signals.", labels=["quantile"])
        for quantile, value in told["lag_ms"].items():
            if value is not None:
                lag.add_metric([quantile], value)
        yield lag
        yield GaugeMetricFamily("smc_disk_free_bytes", "Free space where the data are.", value=told["disk_free_bytes"])


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(ServiceCollector())
    ProcessCollector(registry=registry)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
