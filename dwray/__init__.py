"""dwray compares convolutional networks on Ray Tune: searched, trained, timed and reported.

What is here is for programs and notebooks (``docs/python.md`` goes through it task by task):

* networks and what they cost: ``NETWORKS``, ``build``, ``complexity``;
* images: ``DATASETS``, ``DataConfig``, ``load_splits``, ``Normalize``, ``ResidentImages``;
* training: ``TrainingConfig``, ``PROTOCOLS``, ``start``, ``fit``, ``evaluate``, with ``EpochRecord`` and ``Score``;
* timing: ``time_passes``, ``compare``, ``find_crossover``;
* search, for anybody's Tune trainable: ``LinearSearch`` (a ``ray.tune.search.Searcher``), ``TimingReporter``. The state
  machine under it, which asks and is told and knows no Ray, is ``dwray.search.linear.LinearSearch``;
* a run's records as Arrow and pandas tables: ``load_run``, ``Run``.

``import dwray`` itself imports none of torch, Ray, pyarrow and pandas: a name brings its module when it is first used.
``__init__.pyi`` tells type checkers and editors where each name is from.
"""

from importlib import import_module

__version__ = "0.1.0"

_MODULES = {
    "NETWORKS": "dwray.core.networks",
    "build": "dwray.core.networks",
    "complexity": "dwray.core.complexity",
    "DATASETS": "dwray.core.data",
    "DataConfig": "dwray.core.config",
    "load_splits": "dwray.core.data",
    "Normalize": "dwray.core.batches",
    "ResidentImages": "dwray.core.batches",
    "TrainingConfig": "dwray.core.config",
    "PROTOCOLS": "dwray.core.config",
    "start": "dwray.core.training",
    "fit": "dwray.core.training",
    "evaluate": "dwray.core.evaluation",
    "EpochRecord": "dwray.core.training",
    "Score": "dwray.core.evaluation",
    "time_passes": "dwray.core.inference",
    "compare": "dwray.core.testtime",
    "find_crossover": "dwray.core.crossover",
    "LinearSearch": "dwray.tune.searcher",
    "TimingReporter": "dwray.tune.callbacks",
    "load_run": "dwray.run",
    "Run": "dwray.run",
}
"""The module that each public name is from."""

__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    """A public name, from its module, which is imported now (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, whether used yet or not, and what has been imported."""
    return sorted({*globals(), *__all__})
