"""Volatility as numbers: candles in, measures out."""
