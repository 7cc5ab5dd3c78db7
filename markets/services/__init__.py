"""Writes of the market: pairs, backfills, jobs."""
