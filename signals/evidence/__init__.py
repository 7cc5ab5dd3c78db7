"""What a signal is worth: what followed it, against what follows any moment (docs/evidence.md)."""

from signals.evidence.spec import EvidenceSpec
from signals.evidence.study import NOTED, Evidence, study

__all__ = ["NOTED", "Evidence", "EvidenceSpec", "study"]
