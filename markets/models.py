"""Rows of the market: pairs, their series, what the exchange has not, what it changed, and jobs."""

from django.conf import settings
from django.db import models

from markets.series import SeriesKey, Timeframe


class Pair(models.Model):
    """A market of the exchange, such as BTCUSDT. Sizes are 0 where the exchange did not say."""

    symbol = models.CharField(max_length=20, unique=True)
    base_asset = models.CharField(max_length=20, blank=True)
    quote_asset = models.CharField(max_length=20, blank=True)
    status = models.CharField(max_length=20, blank=True, help_text="The exchange's own word; TRADING is a live market.")
    is_active = models.BooleanField(default=True, help_text="Streamed and kept up to date.")
    tick_size = models.FloatField(default=0.0, help_text="Price step, quote currency.")
    step_size = models.FloatField(default=0.0, help_text="Quantity step, base currency.")
    min_notional = models.FloatField(default=0.0, help_text="Smallest order, quote currency.")
    created_at = models.DateTimeField(auto_now_add=True)
    refreshed_at = models.DateTimeField(null=True, blank=True, help_text="When the exchange was last asked about it.")

    class Meta:
        ordering = ["symbol"]

    def __str__(self) -> str:
        return self.symbol


class Series(models.Model):
    """One timeframe of a pair: what is backfilled, streamed and searched for signals."""

    pair = models.ForeignKey(Pair, on_delete=models.CASCADE, related_name="series")
    timeframe = models.CharField(max_length=3, choices=[(each.value, each.value) for each in Timeframe])
    is_active = models.BooleanField(default=True, help_text="Streamed and kept up to date.")
    first_available = models.BigIntegerField(
        null=True, blank=True, help_text="Open time (UTC ms) of the exchange's first candle, once known."
    )
    history_from = models.BigIntegerField(
        null=True, blank=True, help_text="Open time (UTC ms) from which history is wanted; empty: HISTORY_DAYS."
    )
    error = models.CharField(max_length=300, blank=True, help_text="Why the series does not advance; empty: it does.")
    held_from = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="Open time (UTC ms) of a candle that may come yet; nothing from it on is judged.",
    )

    class Meta:
        ordering = ["pair__symbol", "id"]
        verbose_name_plural = "series"
        constraints = [models.UniqueConstraint(fields=["pair", "timeframe"], name="one_series_a_timeframe")]

    def __str__(self) -> str:
        return str(self.key)

    @property
    def key(self) -> SeriesKey:
        return SeriesKey(self.pair.symbol, Timeframe(self.timeframe))


class ExchangeGap(models.Model):
    """Candles the exchange itself has not: suspected from the first read on, proven by one at least a minute later."""

    series = models.ForeignKey(Series, on_delete=models.CASCADE, related_name="exchange_gaps")
    start = models.BigIntegerField(help_text="Open time (UTC ms) of the first missing candle.")
    end = models.BigIntegerField(help_text="Open time (UTC ms) after the last missing candle.")
    first_read_at = models.DateTimeField(help_text="When the exchange first answered without them.")
    proven_at = models.DateTimeField(null=True, blank=True, help_text="When it did so again; empty: not proven yet.")

    class Meta:
        ordering = ["series", "start"]
        constraints = [
            models.UniqueConstraint(fields=["series", "start", "end"], name="one_row_an_exchange_gap"),
            models.CheckConstraint(condition=models.Q(end__gt=models.F("start")), name="gap_ends_after_its_start"),
        ]

    def __str__(self) -> str:
        return f"{self.series} {self.start}..{self.end}"


class Revision(models.Model):
    """A stored closed candle whose values the exchange changed afterwards."""

    series = models.ForeignKey(Series, on_delete=models.CASCADE, related_name="revisions")
    open_time = models.BigIntegerField(help_text="UTC ms.")
    before = models.JSONField(help_text="The stored values: open, high, low, close, volume.")
    after = models.JSONField(help_text="The exchange's new values.")
    source = models.CharField(max_length=10)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.series} {self.open_time}"


class JobState(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


# What a database can compare with a row's number; SQLite fails on more.
LARGEST_ID = models.BigIntegerField.MAX_BIGINT
ENDED_STATES = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class Job(models.Model):
    """Long work as a row, which is the truth about it; the queue is only a hint.

    Each kind of work (Backfill, Backtest, ...) is a child table, so that ids are unique over all kinds.
    """

    kind = models.CharField(max_length=20, editable=False)
    state = models.CharField(max_length=10, choices=JobState.choices, default=JobState.QUEUED)
    progress = models.FloatField(default=0.0, help_text="Fraction, 0 to 1.")
    stage = models.CharField(max_length=120, blank=True)
    eta_seconds = models.FloatField(null=True, blank=True)
    error = models.TextField(blank=True, help_text="Why it failed, in a sentence.")
    attempts = models.PositiveSmallIntegerField(default=0)
    is_cancel_requested = models.BooleanField(default=False)
    spec = models.JSONField(default=dict, help_text="What was asked for.")
    result = models.JSONField(null=True, blank=True, help_text="What came out: counts or metrics.")
    note = models.CharField(max_length=200, blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="jobs"
    )
    idempotency_key = models.CharField(max_length=120, null=True, blank=True, unique=True)
    spec_digest = models.CharField(max_length=64, blank=True, help_text="Names the request, for reuse and conflicts.")
    worker = models.CharField(max_length=120, blank=True, help_text="Who runs it: host, process and attempt.")
    created_at = models.DateTimeField(auto_now_add=True)
    dispatched_at = models.DateTimeField(null=True, blank=True, help_text="When it was last put on the queue.")
    not_before = models.DateTimeField(null=True, blank=True, help_text="When a delayed job is tried again.")
    delayed_since = models.DateTimeField(null=True, blank=True, help_text="Since when the exchange is away unasked.")
    started_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["kind", "state", "-id"], name="job_kind_state")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(progress__gte=0.0, progress__lte=1.0), name="progress_is_a_fraction"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}: {self.state}"

    @property
    def is_ended(self) -> bool:
        return self.state in ENDED_STATES


class Backfill(Job):
    """Fetching the candles that a series lacks in a range."""

    symbol = models.CharField(max_length=20)
    timeframe = models.CharField(max_length=3)
    start = models.BigIntegerField(null=True, blank=True, help_text="UTC ms; empty: the series' own start.")
    end = models.BigIntegerField(null=True, blank=True, help_text="UTC ms, exclusive; empty: now.")
    source = models.CharField(max_length=10, default="auto")

    class Meta:
        ordering = ["-id"]

    @property
    def series_key(self) -> SeriesKey:
        return SeriesKey.of(self.symbol, self.timeframe)
