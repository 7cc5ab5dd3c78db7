"""The append-only log of signals and marks: the truth about what became knowable, and when.

``data/signals/<SYMBOL>/<timeframe>/<generation>/`` holds month files (``signals-2024-01.parquet`` by confirm
time, ``marks-2024-01.parquet`` by mark time) and ``journal.log``, where the newest candles' facts stand until
they are merged into the month files. A generation is one detector version with one set of parameters over one
revision of the candles; what it replaced lies in ``data/signals-retired/``.

Everything here follows from the stored candles, so whatever a crash leaves behind is mended by folding again.
"""

from signals.log.folding import SeriesLog
from signals.log.reading import SignalLog
from signals.log.rows import MarkRow, SignalRow
from signals.log.views import LogView

__all__ = ["LogView", "MarkRow", "SeriesLog", "SignalLog", "SignalRow"]
