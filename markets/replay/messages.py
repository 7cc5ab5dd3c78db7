"""Binance's JSON: kline rows, kline frames, exchangeInfo. Exchange words live here and in the modules that answer."""

from typing import Any

from markets.replay.market import Listing, Row
from markets.series import SeriesKey

_IDS_A_MINUTE = 100_000


def first_trade_id(row: Row) -> int:
    """Return the id of a candle's first trade: rising in time, -1 where there was none."""
    return row.open_time // 60_000 * _IDS_A_MINUTE + 1 if row.trades else -1


def kline_array(row: Row, milliseconds: int, *, scale: int = 1) -> list[Any]:
    """Return the 12 items of a REST kline; ``scale`` is 1000 for times in microseconds."""
    close_time = (row.open_time + milliseconds) * scale - 1
    return [
        row.open_time * scale,
        f"{row.open:.8f}",
        f"{row.high:.8f}",
        f"{row.low:.8f}",
        f"{row.close:.8f}",
        f"{row.volume:.8f}",
        close_time,
        f"{row.quote_volume:.8f}",
        row.trades,
        f"{row.taker_buy_base:.8f}",
        f"{row.taker_buy_quote:.8f}",
        "0",
    ]


def kline_event(series: SeriesKey, row: Row, *, event_time: int, is_closed: bool) -> dict[str, Any]:
    """Return the payload of a kline stream."""
    first = first_trade_id(row)
    kline = {
        "t": row.open_time,
        "T": row.open_time + series.timeframe.milliseconds - 1,
        "s": series.symbol,
        "i": series.timeframe.value,
        "f": first,
        "L": first + row.trades - 1 if row.trades else -1,
        "o": f"{row.open:.8f}",
        "c": f"{row.close:.8f}",
        "h": f"{row.high:.8f}",
        "l": f"{row.low:.8f}",
        "v": f"{row.volume:.8f}",
        "n": row.trades,
        "x": is_closed,
        "q": f"{row.quote_volume:.8f}",
        "V": f"{row.taker_buy_base:.8f}",
        "Q": f"{row.taker_buy_quote:.8f}",
        "B": "0",
    }
    return {"e": "kline", "E": event_time, "s": series.symbol, "k": kline}


def symbol_info(listing: Listing, status: str) -> dict[str, Any]:
    """Return a pair's entry in exchangeInfo."""
    tick = f"{10**-listing.price_decimals:.8f}"
    step = f"{10**-listing.step_decimals:.8f}"
    return {
        "symbol": listing.symbol,
        "status": status,
        "baseAsset": listing.base_asset,
        "baseAssetPrecision": 8,
        "quoteAsset": listing.quote_asset,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "90000000.00000000", "stepSize": step},
            {
                "filterType": "NOTIONAL",
                "minNotional": "5.00000000",
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def ticker(symbol: str, day: Row, *, close_time: int, is_full: bool) -> dict[str, Any]:
    """Return the 24 h statistics of a pair from the candle of its last 24 hours."""
    first = first_trade_id(day)
    mini = {
        "symbol": symbol,
        "openPrice": f"{day.open:.8f}",
        "highPrice": f"{day.high:.8f}",
        "lowPrice": f"{day.low:.8f}",
        "lastPrice": f"{day.close:.8f}",
        "volume": f"{day.volume:.8f}",
        "quoteVolume": f"{day.quote_volume:.8f}",
        "openTime": day.open_time,
        "closeTime": close_time,
        "firstId": first,
        "lastId": first + day.trades - 1 if day.trades else -1,
        "count": day.trades,
    }
    if not is_full:
        return mini
    change = day.close - day.open
    average = day.quote_volume / day.volume if day.volume else day.close
    return mini | {
        "priceChange": f"{change:.8f}",
        "priceChangePercent": f"{change / day.open * 100:.3f}",
        "weightedAvgPrice": f"{average:.8f}",
        "prevClosePrice": f"{day.open:.8f}",
        "lastQty": "0.00000000",
        "bidPrice": f"{day.close:.8f}",
        "bidQty": "0.00000000",
        "askPrice": f"{day.close:.8f}",
        "askQty": "0.00000000",
    }
