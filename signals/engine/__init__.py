"""The signal engine: pure numbers in, facts out, never a look ahead (docs/concepts.md)."""

from signals.engine.detector import Detector, Run
from signals.engine.kinds import DETECTOR_VERSION, Kind, Mark
from signals.engine.params import SCALES, Params, scale_params
from signals.engine.table import SignalTable

__all__ = ["DETECTOR_VERSION", "SCALES", "Detector", "Kind", "Mark", "Params", "Run", "SignalTable", "scale_params"]
