"""Files to download: text that no spreadsheet runs, numbers that stay numbers, names that only the server makes."""

import csv
import io

import pyarrow.parquet as pq
import pytest
from django.test import Client

from markets.api.answers import csv_chunks
from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from markets.store.export import parquet_chunks
from tests.downloads import body_of

HOSTILE = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\0=1", " =1", '"=1"', "'=1", "  '\"=cmd|' /C calc'!A0",
]  # fmt: skip
HARMLESS = ["BTCUSDT", "a,b", 'say "x"', "two\nlines", "two\rlines", "", "x=1", "ＢＴＣ", "1-2"]


def test_csv_formula() -> None:
    """S30: what a spreadsheet would run gets an apostrophe; all else, and every number, comes back as it was."""
    texts = HOSTILE + HARMLESS
    numbers = [-1.5, 0.1 + 0.2, 1e-9, 123456789.125, -0.0, 5e-324, 1.7976931348623157e308] + [-2.0] * (len(texts) - 7)
    types = {"text": str, "number": float, "whole": int}
    part = {"text": texts, "number": numbers, "whole": list(range(-5, len(texts) - 5))}
    rows = list(csv.DictReader(io.StringIO(b"".join(csv_chunks([part])).decode(), newline="")))
    assert [row["text"] for row in rows] == [f"'{text}" for text in HOSTILE] + HARMLESS
    stored = pq.ParquetFile(io.BytesIO(b"".join(parquet_chunks(iter([part]), types)))).read()
    assert [float(row["number"]) for row in rows] == stored["number"].to_pylist() == numbers
    assert [int(row["whole"]) for row in rows] == stored["whole"].to_pylist() == part["whole"]
    assert not any(row["number"].startswith("'") for row in rows)


@pytest.mark.django_db
def test_download_header_injection(client: Client) -> None:
    """S29: a file's name is made of what was found, never of what was sent, and no browser guesses its type."""
    ensure_series(SeriesKey.of("BTCUSDT", "15m"))
    for symbol in ("BTCUSDT", "BTCUSDT\r\nSet-Cookie: a=b", 'BTC"USDT', "BTCUSDT;filename=evil.exe", "../BTCUSDT"):
        for format_ in ("csv", "parquet", "csv\r\nX-Evil: 1"):
            answer = client.get("/api/v1/candles/", {"symbol": symbol, "timeframe": "15m", "format": format_})
            assert answer["X-Content-Type-Options"] == "nosniff"
            assert "X-Evil" not in answer
            assert not answer.cookies
            if answer.status_code == 200:
                assert (symbol, body_of(answer)[:4]) in (("BTCUSDT", b"open"), ("BTCUSDT", b"PAR1"))
                assert answer["Content-Disposition"] == f'attachment; filename="BTCUSDT-15m.{format_}"'
            else:
                assert "Content-Disposition" not in answer
