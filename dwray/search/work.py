"""The trials that a sweep plans for each contender: what `plan` adds up."""

from collections.abc import Mapping

from dwray.search.plan import line, pass_kinds, search_epochs, training_protocols
from dwray.spec import SweepSpec

ALL = ""
"""In the place of a contender: a trial is about all of them."""

Workload = Mapping[str, tuple[int | None, int]]
"""By contender: its trials at most (None is no limit), and the epochs of each."""


def workloads(spec: SweepSpec) -> dict[str, Workload]:
    """The workload of each stage, in the stages' order; a timing counts as one epoch, since it reports once."""
    found: dict[str, Workload] = {}
    if spec.search.axes:
        found["search"] = {
            name: (line(spec, name).max_evaluations, search_epochs(spec, name)) for name in spec.networks
        }
    repeats = len(spec.seeds) * len(training_protocols(spec))
    found["train"] = {name: (repeats, spec.training_of(name).epochs) for name in spec.networks}
    if spec.timing:
        found["time"] = {ALL: (len(pass_kinds(spec)), 1)}
    return found
