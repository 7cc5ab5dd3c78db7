"""The live loop: it keeps every wanted series up to date, and finds and tells what its candles mean.

Start-up is recovery. A series is brought up to now by REST, what that tells is published as late, and then its live
candles are taken one by one: stored durably, judged, entered into the ledger, told. After anything that may have cost
a candle (a new connection, a hole, an error) the same is done again; there is no second way.

``runner`` leads or stands by, ``feed`` decides what is done when, ``series`` does it for one series.
"""
