"""Reports on disk: trades, equity and metrics, as CSV and Parquet, published whole or not at all."""

from backtests.reports.encoding import EQUITY, TRADES, report_files
from backtests.reports.reading import column_names, csv_chunks, read_columns, row_count
from backtests.reports.shelf import ReportShelf, publish_folder, publish_into

__all__ = [
    "EQUITY",
    "TRADES",
    "ReportShelf",
    "column_names",
    "csv_chunks",
    "publish_folder",
    "publish_into",
    "read_columns",
    "report_files",
    "row_count",
]
