"""Binance's bulk archive: zipped CSV files by month and by day, each with its checksum."""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from markets.candles import FLOW_COLUMNS, PRICE_COLUMNS, Candles, join, take_file_rows
from markets.errors import BadAnswerError, ExchangeUnavailableError
from markets.exchanges import ArchiveFile, LeftOut
from markets.exchanges.transport import MEBIBYTE, Answer, Bounds, Transport
from markets.exchanges.wire import to_milliseconds
from markets.series import SeriesKey
from markets.zips import UnsoundZipError, only_member

logger = logging.getLogger(__name__)

# A month of 1m is 2 to 3 MB zipped and 10 MB as text.
_ZIP_BYTES, _TEXT_BYTES = 64 * MEBIBYTE, 256 * MEBIBYTE
_TOTAL_SECONDS = 120.0
# Each holds a month as zip, text and table: more would need more than 300 MB, and two keep two cores busy.
_DOWNLOADS = 2
# Months were seen to come as late as the 13th; their days are there before.
_PUBLISHED_AFTER = timedelta(days=30)
_ATTEMPTS = 3
# The order of REST's klines; spot files have no header, and some of other markets do.
_COLUMNS = (
    "open_time", *PRICE_COLUMNS, "volume", "close_time", "quote_volume", "trades", "taker_buy_base",
    "taker_buy_quote", "ignored",
)  # fmt: skip
_TYPES = {name: pa.int64() if name.endswith("_time") else pa.float64() for name in _COLUMNS if name != "ignored"}


class BinanceArchive:
    """An ``Archive`` at one base URL. Several files are fetched at once, within bounds."""

    def __init__(self, base_url: str) -> None:
        self._transport = Transport(base_url, bounds=Bounds(total_seconds=_TOTAL_SECONDS, body_bytes=_ZIP_BYTES))

    def plan(self, series: SeriesKey, start: int, end: int, now: int) -> list[ArchiveFile]:
        """Return the files that hold ``start <= open_time < end`` (UTC ms), oldest first.

        Months that had ended at ``now`` (UTC ms, the exchange's clock) are asked for whole, the days since
        then one by one; the day that still runs has no file.
        """
        first, today = _day(start), _day(now)
        last = min(_day(end - 1), today - timedelta(days=1))
        files: list[ArchiveFile] = []
        day = first
        while day <= last:
            following = _next_month(day)
            if following <= today and (day.day == 1 or (following - day).days > 1):
                is_fresh = today - following < _PUBLISHED_AFTER
                files.append(ArchiveFile(series, day.replace(day=1), is_monthly=True, is_fresh=is_fresh))
                day = following
            else:
                files.append(ArchiveFile(series, day, is_monthly=False))
                day += timedelta(days=1)
        return files

    def fetch_all(
        self, files: Iterable[ArchiveFile], left_out: LeftOut = lambda file, reason: None
    ) -> Iterator[tuple[ArchiveFile, Candles | None]]:
        """Fetch ``files`` several at once; yield each with its candles, in the order given.

        None stands for a file that is not there, or that stayed damaged however often it was asked for: both
        are left to REST. ``left_out`` is told the reason, from the thread that met it. Raises
        ``ExchangeUnavailableError`` when the archive cannot be reached.
        """
        with ThreadPoolExecutor(_DOWNLOADS, thread_name_prefix="archive") as downloads:
            waiting: list[tuple[ArchiveFile, Future[Candles | None]]] = []
            try:
                for file in files:
                    waiting.append((file, downloads.submit(self._fetch, file, left_out)))
                    # Months that wait for a slow writer would fill the memory.
                    if len(waiting) >= _DOWNLOADS:
                        first, future = waiting.pop(0)
                        yield first, future.result()
                for first, future in waiting:
                    yield first, future.result()
            finally:
                for _, future in waiting:
                    future.cancel()

    def _fetch(self, file: ArchiveFile, left_out: LeftOut) -> Candles | None:
        # A fresh month that is not there is no news, it may not be published yet.
        found = self._fetch_one(file, left_out, may_be_absent=file.is_fresh)
        if found is None and file.is_fresh:
            parts = [part for part in (self._fetch_one(day, left_out) for day in _days_of(file)) if part is not None]
            return join(parts) if parts else None
        return found

    def _fetch_one(self, file: ArchiveFile, left_out: LeftOut, *, may_be_absent: bool = False) -> Candles | None:
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                found = self._read(file)
            except BadAnswerError as error:
                reason = str(error)
                continue
            if found is None and not may_be_absent:
                left_out(file, f"{file.name} is not in the archive")
            return found
        logger.warning("an archive file is left out", extra={"file": file.name, "reason": reason})
        left_out(file, reason)
        return None

    def _read(self, file: ArchiveFile) -> Candles | None:
        path = _path_of(file)
        answer = self._get(path)
        if answer is None:
            return None
        checksum = self._get(f"{path}.CHECKSUM")
        if checksum is None:
            raise BadAnswerError(f"{file.name} has no checksum")
        told = checksum.body[:64].decode("ascii", "replace").lower()
        if told != hashlib.sha256(answer.body).hexdigest():
            raise BadAnswerError(f"{file.name} is not what its checksum says")
        try:
            text = only_member(answer.body, limit=_TEXT_BYTES)
        except UnsoundZipError as error:
            raise BadAnswerError(f"{file.name} {error}") from error
        del answer  # some MB for each download, and the text is there
        return parse(text, file)

    def _get(self, path: str) -> Answer | None:
        """Return the answer, None for 404. Raises ``ExchangeUnavailableError`` for any other refusal."""
        answer = self._transport.get(path)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise ExchangeUnavailableError(f"{self._transport.host}{path} answers {answer.status}")
        return answer


def parse(text: bytes, file: ArchiveFile) -> Candles:
    """Read an archive's CSV: 12 columns in REST's order, times in ms or µs, with a header or without.

    Rows that no candle can have are left out. Raises ``BadAnswerError`` for what is not such a table.
    """
    try:
        table = csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(
                column_names=list(_COLUMNS), skip_rows=0 if text[:1].isdigit() else 1, use_threads=False
            ),
            convert_options=csv.ConvertOptions(column_types=_TYPES, include_columns=list(_TYPES)),
            # Arrow's own pool keeps what each thread once needed, here the size of all months at once.
            memory_pool=pa.system_memory_pool(),
        )
    except pa.ArrowInvalid as error:
        raise BadAnswerError(f"{file.name} is not a table of candles: {str(error)[:120]}") from error
    columns = {name: _column(table, name) for name in ("open_time", *PRICE_COLUMNS, "volume", *FLOW_COLUMNS)}
    del table
    columns["open_time"] = to_milliseconds(columns["open_time"])
    candles, counts = take_file_rows(columns, file.series.timeframe)
    if counts.malformed or counts.duplicate:
        logger.warning(
            "archive rows left out",
            extra={"file": file.name, "malformed": counts.malformed, "duplicate": counts.duplicate},
        )
    return candles


def _path_of(file: ArchiveFile) -> str:
    period = "monthly" if file.is_monthly else "daily"
    return f"/data/spot/{period}/klines/{file.series.symbol}/{file.series.timeframe.value}/{file.name}"


def _days_of(month: ArchiveFile) -> list[ArchiveFile]:
    """Return the daily files of a month's."""
    count = (_next_month(month.first_day) - month.first_day).days
    return [ArchiveFile(month.series, month.first_day + timedelta(days=n), is_monthly=False) for n in range(count)]


def _column(table: pa.Table, name: str) -> NDArray[Any]:
    """Return a column as numbers, NaN or -1 for an empty cell. Arrow's own way imports pandas, which costs 40 MB."""
    parts = []
    for chunk in table.column(name).chunks:
        whole = chunk.fill_null(-1 if pa.types.is_integer(chunk.type) else np.nan) if chunk.null_count else chunk
        parts.append(np.frombuffer(whole.buffers()[1], whole.type.to_pandas_dtype(), len(whole), whole.offset * 8))
    return np.concatenate(parts)


def _day(time: int) -> date:
    return datetime.fromtimestamp(time / 1000, UTC).date()


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
