"""Times one function of smartmoneyconcepts in a process of its own; an alarm ends it (called by ``engine.py``)."""

import json
import signal
import sys
import time

import numpy as np
import pandas as pd
from smartmoneyconcepts import smc

name, cap, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
columns = np.load(path)
table = pd.DataFrame({each: columns[each] for each in ("open", "high", "low", "close", "volume")})
arguments = [table]
if name in ("bos_choch", "ob", "liquidity"):
    swings = pd.DataFrame({"HighLow": np.full(len(table), np.nan), "Level": np.full(len(table), np.nan)})
    swings.loc[columns["event_idx"], "HighLow"] = columns["direction"].astype(float)
    swings.loc[columns["event_idx"], "Level"] = columns["level"]
    arguments.append(swings)
options = {"swing_length": 5} if name == "swing_highs_lows" else {}
signal.signal(signal.SIGALRM, signal.SIG_DFL)
signal.alarm(cap)
began = time.process_time()
getattr(smc, name)(*arguments, **options)
print(json.dumps(time.process_time() - began))
