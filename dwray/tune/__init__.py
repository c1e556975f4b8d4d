"""The only importer of Ray: the linear search as a Tune searcher, the trainables, the callbacks and the stages.

``LinearSearch`` and ``TimingReporter`` work with anybody's trainable.
"""

from dwray.tune.callbacks import TimingReporter
from dwray.tune.searcher import LinearSearch

__all__ = ["LinearSearch", "TimingReporter"]
