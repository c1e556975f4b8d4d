from dwray.core.batches import Normalize, ResidentImages
from dwray.core.complexity import complexity
from dwray.core.config import PROTOCOLS, DataConfig, TrainingConfig
from dwray.core.crossover import find_crossover
from dwray.core.data import DATASETS, load_splits
from dwray.core.evaluation import Score, evaluate
from dwray.core.inference import time_passes
from dwray.core.networks import NETWORKS, build
from dwray.core.testtime import compare
from dwray.core.training import EpochRecord, fit, start
from dwray.run import Run, load_run
from dwray.tune.callbacks import TimingReporter
from dwray.tune.searcher import LinearSearch

__all__ = [
    "DATASETS",
    "NETWORKS",
    "PROTOCOLS",
    "DataConfig",
    "EpochRecord",
    "LinearSearch",
    "Normalize",
    "ResidentImages",
    "Run",
    "Score",
    "TimingReporter",
    "TrainingConfig",
    "build",
    "compare",
    "complexity",
    "evaluate",
    "find_crossover",
    "fit",
    "load_run",
    "load_splits",
    "start",
    "time_passes",
]

__version__: str
