"""The backtests' part of the REST API."""
