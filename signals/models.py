"""The ledger: what was shown to people, and when. Rows are written once and never changed, except ``revised_at``."""

from django.db import models

from markets.models import Job


class PublishedSignal(models.Model):
    """A signal as it was published. Times ending in ``_time`` are candle open times, UTC ms."""

    symbol = models.CharField(max_length=20)
    timeframe = models.CharField(max_length=3)
    scale = models.CharField(max_length=10)
    kind = models.CharField(max_length=8)
    direction = models.SmallIntegerField(help_text="1 bullish, -1 bearish.")
    event_time = models.BigIntegerField()
    ref_time = models.BigIntegerField()
    confirm_time = models.BigIntegerField()
    closed_at = models.BigIntegerField(help_text="Close time of the confirm candle, UTC ms.")
    level = models.FloatField()
    top = models.FloatField(null=True)
    bottom = models.FloatField(null=True)
    strength = models.FloatField()
    range_pos = models.FloatField(null=True)
    tag = models.CharField(max_length=12, blank=True)
    published_at = models.DateTimeField(help_text="Our clock.")
    latency_ms = models.FloatField(null=True, help_text="From the exchange's closing frame to publication; late: none.")
    is_late = models.BooleanField(help_text="Found while catching up: stored and sent, not announced as new.")
    revision = models.PositiveIntegerField(default=0, help_text="Which rebuild of the series' log found it.")
    revised_at = models.DateTimeField(
        null=True, blank=True, help_text="Set when a later rebuild no longer finds the signal as published."
    )
    detector_version = models.PositiveIntegerField()
    params_digest = models.CharField(max_length=8)

    class Meta:
        ordering = ["-published_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "symbol", "timeframe", "scale", "kind", "direction", "event_time", "ref_time",
                    "detector_version", "params_digest",
                ],
                name="a_signal_is_published_once",
            )
        ]  # fmt: skip
        indexes = [
            models.Index(fields=["symbol", "timeframe", "-confirm_time"], name="ledger_series"),
            models.Index(fields=["-confirm_time"], name="ledger_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.symbol}:{self.timeframe} {self.kind} {self.direction:+d} {self.confirm_time}"


class Study(Job):
    """One study of what a series' signals were worth; its tables are the job's result."""

    symbol = models.CharField(max_length=20)
    timeframe = models.CharField(max_length=3)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "studies"
