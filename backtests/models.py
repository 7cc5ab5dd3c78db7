"""Rows of backtests and of the analyses made of many of them."""

from django.db import models

from markets.models import Job

# Fifty pairs of twenty characters, separated by commas.
_SYMBOLS_LENGTH = 1_050


class Backtest(Job):
    """One run of a strategy; its spec, metrics and life are the job's."""

    symbol = models.CharField(max_length=_SYMBOLS_LENGTH, help_text="One pair, or several by comma.")
    timeframe = models.CharField(max_length=3)
    strategy = models.CharField(max_length=40)
    start = models.BigIntegerField(help_text="UTC ms.")
    end = models.BigIntegerField(help_text="UTC ms, exclusive.")
    data_digest = models.CharField(max_length=64, blank=True, help_text="Names the candles the run read.")
    result_key = models.CharField(
        max_length=64, blank=True, db_index=True, help_text="Names candles, spec and engine: equal keys, equal reports."
    )
    folder = models.CharField(max_length=200, blank=True, help_text="Where the published report lies.")
    is_quick = models.BooleanField(default=False, help_text="Run while a request waited; not in lists, swept in time.")

    class Meta:
        ordering = ["-id"]


class Method(models.TextChoices):
    """What an analysis does with the runs of its spec."""

    SWEEP = "sweep"
    WALK_FORWARD = "walk_forward"
    NULL = "null"
    COSTS = "costs"
    LOOK_AHEAD = "look_ahead"


class Analysis(Job):
    """Work over many runs of one spec: a sweep over two axes, a walk-forward, a null benchmark."""

    method = models.CharField(max_length=20, choices=Method.choices)
    symbol = models.CharField(max_length=_SYMBOLS_LENGTH)
    timeframe = models.CharField(max_length=3)
    strategy = models.CharField(max_length=40)
    start = models.BigIntegerField(default=0, help_text="UTC ms.")
    end = models.BigIntegerField(default=0, help_text="UTC ms, exclusive.")
    data_digest = models.CharField(max_length=64, blank=True, help_text="Names the candles that all parts read.")

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "analyses"


class AnalysisPart(models.Model):
    """One piece of an analysis, such as a row of a heatmap; pieces are done by any worker in any order."""

    analysis = models.ForeignKey(Analysis, on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    spec = models.JSONField()
    result = models.JSONField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["analysis", "number"]
        constraints = [models.UniqueConstraint(fields=["analysis", "number"], name="one_row_a_part")]

    def __str__(self) -> str:
        return f"{self.analysis} part {self.number}"
