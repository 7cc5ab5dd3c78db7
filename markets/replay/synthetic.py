"""The synthetic market: every candle is a pure function of seed, symbol and time.

Days hang on a chain of daily closes that is quick to make for decades. A day's 1,440 minutes are a bridge from
one close to the next, so any day can be made alone; longer candles are exact sums of minutes. All sums are made
in whole ticks and steps, so nothing depends on the order in which it was asked for.
"""

import math
from collections.abc import Collection, Mapping
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from markets.candles import Candles, FloatArray, Flow
from markets.replay.market import Listing, Row, partial
from markets.replay.symbols import Character, character_of
from markets.series import SeriesKey, Timeframe

Block = NDArray[np.int64]  # shape (9, n): open high low close | volume quote trades taker_base taker_quote

DAY = 86_400_000
MINUTES = 1440
FIRST_DAY, LAST_DAY = 17_167, 32_872  # 2017-01-01 to 2060-01-01

_MINUTE = np.arange(MINUTES)
_BLOCK = 256


def _season() -> FloatArray:
    """Return the usual volatility of each minute of the UTC day, mean 1: Asia opens, Europe, and above all New York."""
    hours = _MINUTE / 60
    peaks = ((0.3, 0.5, 0.7), (7.5, 0.35, 1.2), (13.8, 1.0, 1.3), (15.5, 0.5, 2.0))
    shape = np.full(MINUTES, 0.6)
    for at, height, width in peaks:
        shape += height * np.exp(-(((hours - at) / width) ** 2))
    return np.asarray(shape / shape.mean(), np.float64)


_LOG_SEASON = np.log(_season())
_DECAY = 0.985  # of the log volatility from one minute to the next: clusters of about an hour
_POWERS = _DECAY ** np.arange(MINUTES)


class SyntheticMarket:
    """An endless market from 2017 to 2060 of any set of symbols."""

    def __init__(self, symbols: Collection[str], *, seed: int = 1) -> None:
        self.name = f"synthetic, seed {seed}"
        self.seed = seed
        self._characters = {symbol: character_of(symbol, seed=seed) for symbol in symbols}
        self.listings: Mapping[str, Listing] = {symbol: each.listing for symbol, each in self._characters.items()}
        self._chain = lru_cache(2_000)(lambda symbol: _Chain(self._characters[symbol]))
        self._minutes = lru_cache(500)(self._make_minutes)
        self._long = lru_cache(20_000)(self._make_bars)

    def timeframes(self, symbol: str) -> tuple[str, ...]:
        return tuple(Timeframe)

    def first_time(self, series: SeriesKey) -> int | None:
        return FIRST_DAY * DAY

    def candles(self, series: SeriesKey, start: int, end: int) -> Candles:
        start, end = max(start, FIRST_DAY * DAY), min(end, LAST_DAY * DAY)
        if end <= start:
            return Candles.empty()
        first, last = start // DAY, (end - 1) // DAY
        blocks = [self._bars(series.symbol, day, series.timeframe.minutes) for day in range(first, last + 1)]
        times = first * DAY + np.arange(sum(block.shape[1] for block in blocks)) * series.timeframe.milliseconds
        low, high = np.searchsorted(times, [start, end])
        return self._told(series.symbol, times[low:high], np.concatenate(blocks, axis=1)[:, low:high])

    def row(self, series: SeriesKey, open_time: int) -> Row | None:
        if not FIRST_DAY * DAY <= open_time < LAST_DAY * DAY or open_time % series.timeframe.milliseconds:
            return None
        block = self._bars(series.symbol, open_time // DAY, series.timeframe.minutes)
        return self._row(series.symbol, open_time, block[:, open_time % DAY // series.timeframe.milliseconds])

    def newest_before(self, series: SeriesKey, end: int, count: int) -> Candles:
        end = series.timeframe.ceil(min(end, LAST_DAY * DAY))
        return self.candles(series, end - count * series.timeframe.milliseconds, end)

    def oldest_from(self, series: SeriesKey, start: int, end: int, count: int) -> Candles:
        start = series.timeframe.ceil(max(start, FIRST_DAY * DAY))
        return self.candles(series, start, min(end, start + count * series.timeframe.milliseconds))

    def forming(self, series: SeriesKey, now: int) -> Row | None:
        open_time = series.timeframe.floor(now)
        if not FIRST_DAY * DAY <= now < LAST_DAY * DAY:
            return None
        listing = self.listings[series.symbol]
        begin, minute = (open_time % DAY) // 60_000, (now % DAY) // 60_000
        block = self._minutes(series.symbol, now // DAY)
        current = self._row(series.symbol, now - now % 60_000, block[:, minute])
        running = partial(current, (now % 60_000) / 60_000, listing)
        if begin == minute:
            return running
        past = self._row(series.symbol, open_time, _sum_up(block[:, begin:minute], minute - begin)[:, 0])
        if running.trades == 0:
            return past
        return _joined(past, running, listing.step_decimals)

    def _told(self, symbol: str, times: NDArray[np.int64], block: Block) -> Candles:
        listing = self.listings[symbol]
        prices = block[:4] / 10**listing.price_decimals
        base = block[[4, 7]] / 10**listing.step_decimals
        quote = block[[5, 8]] / 10 ** (listing.price_decimals + listing.step_decimals)
        flow = Flow(quote[0], block[6].astype(np.float64), base[1], quote[1])
        return Candles(times, prices[0], prices[1], prices[2], prices[3], base[0], flow=flow)

    def _row(self, symbol: str, open_time: int, column: NDArray[np.int64]) -> Row:
        listing = self.listings[symbol]
        open_, high, low, close, volume, quote, trades, taker, taker_quote = column.tolist()
        price, step = 10**listing.price_decimals, 10**listing.step_decimals
        money = price * step
        return Row(
            open_time,
            open_ / price,
            high / price,
            low / price,
            close / price,
            volume / step,
            quote / money,
            trades,
            taker / step,
            taker_quote / money,
        )

    def _bars(self, symbol: str, day: int, minutes: int) -> Block:
        if minutes >= 60:
            return self._long(symbol, day, minutes)
        return self._make_bars(symbol, day, minutes)

    def _make_bars(self, symbol: str, day: int, minutes: int) -> Block:
        block = self._minutes(symbol, day)
        return block if minutes == 1 else _sum_up(block, minutes)

    def _make_minutes(self, symbol: str, day: int) -> Block:
        return _Day(self._characters[symbol], self._chain(symbol), day).block()


def _sum_up(block: Block, minutes: int) -> Block:
    """Return the candles of ``minutes`` minutes that the minutes of ``block`` make."""
    by_bar = block.reshape(len(block), -1, minutes)
    sums = by_bar[4:].sum(axis=2)
    return np.vstack([by_bar[0, :, 0], by_bar[1].max(axis=1), by_bar[2].min(axis=1), by_bar[3, :, -1], sums])


def _joined(past: Row, running: Row, step_decimals: int) -> Row:
    """Return the candle of ``past``, closed minutes, and ``running``, the minute that is open."""
    return Row(
        past.open_time,
        past.open,
        max(past.high, running.high),
        min(past.low, running.low),
        running.close,
        round(past.volume + running.volume, step_decimals),
        round(past.quote_volume + running.quote_volume, 8),
        past.trades + running.trades,
        round(past.taker_buy_base + running.taker_buy_base, step_decimals),
        round(past.taker_buy_quote + running.taker_buy_quote, 8),
    )


class _Chain:
    """The daily closes of a pair, and the log of its volatility at each midnight.

    The log price returns slowly to the pair's level (half of the way in about 140 days); volatility comes in
    waves of weeks; trends of some weeks alternate with ranges; a few days a year are far out of the ordinary.
    """

    def __init__(self, character: Character) -> None:
        days = LAST_DAY - FIRST_DAY + 1
        random = character.generator(2**40)
        self.log_volatility = _returning(random.normal(0, 0.1, days), 0.97).astype(np.float32)
        volatility = character.daily_volatility * np.exp(self.log_volatility)
        trend = _returning(random.normal(0, 0.07, days), 0.94)
        shocks = random.normal(size=days) * np.where(random.random(days) < 0.02, 2.5, 1.0)
        path = _returning((trend + shocks) * volatility, 0.995)
        self.log_price = path + np.log(character.level)
        self._scale: int = 10**character.listing.price_decimals

    def ticks(self, at: int) -> int:
        """Return the price at a midnight in ticks."""
        return max(1, round(math.exp(float(self.log_price[at])) * self._scale))


def _returning(noise: FloatArray, keep: float) -> FloatArray:
    """Return the level that keeps the share ``keep`` of itself at each step and gains the step's noise.

    In blocks: within one the noise is summed at its weight, so only the blocks are gone through one by one.
    """
    padded = np.append(noise, np.zeros(-len(noise) % _BLOCK)).reshape(-1, _BLOCK)
    weights = keep ** np.arange(_BLOCK)
    inside = np.cumsum(padded / weights, axis=1) * weights
    before = accumulate(inside[:-1, -1].tolist(), lambda level, end: level * keep**_BLOCK + end, initial=0.0)
    levels = inside + np.fromiter(before, np.float64, len(inside))[:, None] * weights * keep
    return np.asarray(levels.ravel()[: len(noise)], np.float64)


class _Day:
    """One day's minutes, made step by step from its own random numbers."""

    def __init__(self, character: Character, chain: _Chain, day: int) -> None:
        self._character = character
        self._random = character.generator(day)
        at = day - FIRST_DAY
        self._first_ticks, self._last_ticks = chain.ticks(at), chain.ticks(at + 1)
        self._first_log, self._last_log = float(chain.log_price[at]), float(chain.log_price[at + 1])
        before, after = chain.log_volatility[at : at + 2].tolist()
        self._log_volatility = np.linspace(before, after, MINUTES, endpoint=False)

    def block(self) -> Block:
        volatility, activity = self._volatility()
        closes, moves = self._closes(volatility)
        trades = self._trades(activity)
        # A minute without a trade keeps the last price; the day ends with one, so that days join.
        traded = np.maximum.accumulate(np.where(trades > 0, _MINUTE, -1))
        closes = np.where(traded >= 0, closes[traded], self._first_ticks)
        before = np.concatenate([[self._first_ticks], closes[:-1]])
        opens, highs, lows = self._ranges(before, closes, volatility, trades)
        flow = self._flow((opens + highs + lows + closes) // 4, trades, moves / volatility)
        return np.vstack([opens, highs, lows, closes, *flow])

    def _volatility(self) -> tuple[FloatArray, FloatArray]:
        """Return each minute's volatility (fraction), and the same relative to its usual value."""
        random = self._random
        noise = random.normal(0, 0.1, MINUTES)
        clusters = _POWERS * np.cumsum(noise / _POWERS)
        clusters -= clusters[-1] * _POWERS[::-1]  # ends at 0, as the next day begins
        for minute in random.integers(0, MINUTES, random.poisson(1.5)):
            clusters[minute:] += random.uniform(0.8, 1.8) * np.exp(-_MINUTE[: MINUTES - minute] / 25)
        shape = np.exp(_LOG_SEASON + clusters)
        daily = self._character.daily_volatility * np.exp(self._log_volatility)
        return daily * shape / np.sqrt((shape**2).sum()), shape * np.exp(self._log_volatility)

    def _closes(self, volatility: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
        """Return closes in ticks and the log moves that lead to them: legs with a drift, ranges, jumps."""
        random = self._random
        drift = np.where(random.random(17) < 0.5, random.normal(0, 0.12, 17), 0.0)
        legs = np.repeat(drift, 90)[random.integers(0, 90) :][:MINUTES]
        shocks = random.normal(size=MINUTES) * np.where(random.random(MINUTES) < 0.003, 4.0, 1.0)
        moves = volatility * (shocks + legs)
        weights = volatility**2 / (volatility**2).sum()
        moves += weights * (self._last_log - self._first_log - moves.sum())
        scale = 10**self._character.listing.price_decimals
        closes = np.rint(np.exp(self._first_log + np.cumsum(moves)) * scale).astype(np.int64)
        closes[-1] = self._last_ticks
        return np.maximum(closes, 1), moves

    def _trades(self, activity: FloatArray) -> NDArray[np.int64]:
        usual = self._character.trades_per_minute * activity**1.3 * np.exp(self._random.normal(-0.08, 0.4, MINUTES))
        trades = self._random.poisson(usual)
        trades[-1] = max(1, trades[-1])
        return trades.astype(np.int64)

    def _ranges(
        self, before: NDArray[np.int64], closes: NDArray[np.int64], volatility: FloatArray, trades: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return opens, highs and lows. Extremes are those of a Brownian bridge from open to close."""
        random = self._random
        hops = np.where((random.random(MINUTES) < 0.25) & (trades > 3), random.integers(-1, 2, MINUTES), 0)
        opens = np.maximum(before + hops, 1)
        spread = 2 * (0.8 * volatility * before) ** 2
        reach = -np.log1p(-random.random((2, MINUTES))) * np.where(trades > 3, spread, 0.0)
        up, down = np.sqrt((closes - opens) ** 2 + reach)
        highs = np.rint((opens + closes + up) / 2).astype(np.int64)
        lows = np.rint((opens + closes - down) / 2).astype(np.int64)
        highs = np.maximum(highs, np.maximum(opens, closes))
        lows = np.maximum(np.minimum(lows, np.minimum(opens, closes)), 1)
        return opens, highs, lows

    def _flow(
        self, price: NDArray[np.int64], trades: NDArray[np.int64], moves: FloatArray
    ) -> tuple[NDArray[np.int64], ...]:
        """Return volume, quote volume, trades, and the takers' share of both, in steps and ticks."""
        random, listing = self._random, self._character.listing
        money = trades * self._character.trade_size * np.exp(random.normal(-0.1, 0.45, MINUTES))
        steps_a_unit = 10 ** (listing.step_decimals + listing.price_decimals)
        volume = np.maximum(np.rint(money * steps_a_unit / price).astype(np.int64), trades)
        bought = np.clip(0.5 + 0.15 * np.tanh(moves) + random.normal(0, 0.08, MINUTES), 0.02, 0.98)
        taker = np.rint(volume * bought).astype(np.int64)
        return volume, volume * price, trades, taker, taker * price
