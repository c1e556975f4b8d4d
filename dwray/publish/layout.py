"""The comparison report as W&B shows it: laid out as the paper is, with the measured beside it.

It is made anew from the records whenever they are published, never read back and edited: reading back loses settings.
"""

import re
from collections.abc import Iterable, Sequence

import wandb_workspaces.reports.v2 as wr
from wandb_workspaces import expr

from dwray.core.config import PLAIN_MODE
from dwray.publish.runs import METRICS, NO_ERRATUM, PAPER, notebook_label, ratio_metric, records_name, run_name
from dwray.report.heading import provenance, subtitle, title
from dwray.report.markdown import markdown_table
from dwray.report.subjects import subjects
from dwray.results.crossings import crossings_table
from dwray.results.records import Records
from dwray.results.search_path import SearchSettings, Step, search_path, search_settings
from dwray.results.table import Table
from dwray.results.tables import make_tables

PAPERS_TABLES = ("parameters", "accuracy", "training_time", "test_time")
"""Tables 1 to 4."""
LOGARITHMIC = ("initial_lr", "weight_decay", "batch_size")
"""Axes whose values are apart by factors."""

_ID = re.compile(r'"(?:id|__id__)":"(\w+)"')


def published_tables(records: Records) -> list[Table]:
    """The tables of a run, and beside them the crossovers, which are no table of the paper's."""
    return [*make_tables(records), crossings_table(records)]


def build_report(
    records: Records, tables: Sequence[Table], sweep_file: str, *, entity: str = "", project: str = ""
) -> wr.Report:
    """The report of a run.

    Args:
        records: What the run measured.
        tables: Those of :func:`published_tables`.
        sweep_file: The text of its sweep file, every default spelled out.
        entity: Whose project the runs are in; without one the report asks no server for anything.
        project: Their project.
    """
    layout = _Layout(records, entity, project)
    by_name = {table.name: table for table in tables if table.rows}

    def shown(*names: str) -> list[wr.MarkdownBlock]:
        return [wr.MarkdownBlock(text=markdown_table(by_name[name])) for name in names if name in by_name]

    blocks = [
        wr.TableOfContents(),
        wr.H1(text="What was run, and where"),
        wr.MarkdownBlock(text=f"{subtitle(records)}\n\n{provenance(records)}"),
        wr.H1(text="The paper's tables, measured"),
        *shown(*PAPERS_TABLES),
        wr.H1(text="How the networks learn"),
        *layout.learning(),
        *_section("The linear search", [*shown("settings"), *layout.search(search_settings(sweep_file))]),
        *_section("Test time", [*shown("test_time_by_mode", "crossings"), *layout.timing()]),
        *_section("The device's limits", shown("roofline")),
        *_section("The paper's claims", shown("verdicts")),
        *_section("What the paper's flaws are worth", shown("errata")),
        wr.H1(text="The runs, compared"),
        layout.grid([wr.RunComparer(diff_only="split", layout=wr.Layout(w=24, h=14))], "trainings", stages=["train"]),
        wr.H1(text="Provenance"),
        wr.MarkdownBlock(
            text=f"The records are the artifact `{records_name(records)}` in its latest version: Parquet files and the "
            "sweep file, from which `dwray report` makes all of this again. Whenever they change, another run `tables` "
            "has the next version, and the tables. To measure it again: `dwray sweep sweep.yaml` with"
        ),
        wr.CodeBlock(code=sweep_file, language="yaml"),
    ]
    return wr.Report(
        entity=entity,
        project=project,
        title=f"dwray {title(records)}: {run_name(records).rpartition('/')[2]}",
        description=subtitle(records),
        blocks=blocks,
        width="fluid",
    )


def report_spec(report: wr.Report) -> str:
    """The report's specification as JSON, as the service keeps it; the same report is the same text."""
    # The only way to it without a server; the package's version is pinned for its sake, and a test holds it.
    spec = str(report._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))
    # Its parts have names that are drawn at random.
    for number, name in enumerate(dict.fromkeys(_ID.findall(spec))):
        spec = spec.replace(f'"{name}"', f'"part{number}"')
    return spec


def _section(heading: str, blocks: Iterable[object]) -> list[object]:
    """A section that has something in it, or nothing."""
    found = list(blocks)
    return [wr.H1(text=heading), *found] if found else []


def _is_logarithmic(axis: str, steps: Iterable[Step]) -> bool:
    """Whether an axis' scale is: not where a value is 0, which it could not show."""
    return axis in LOGARITHMIC and all(each.value > 0 for step in steps if step.axis == axis for each in step.tried)


class _Layout:
    """Makes the panels, over the runs of one sweep."""

    def __init__(self, records: Records, entity: str, project: str) -> None:
        self._records, self._entity, self._project = records, entity, project

    def grid(
        self,
        panels: list[object],
        name: str,
        *filters: expr.FilterExpr,
        stages: list[str],
        **wanted: Sequence[object],
    ) -> wr.PanelGrid:
        """Panels over the runs of some stages, with these values in their configs."""
        return wr.PanelGrid(runsets=[self._runset(name, *filters, stages=stages, **wanted)], panels=panels)

    def _runset(self, name: str, *filters: expr.FilterExpr, stages: list[str], **wanted: Sequence[object]) -> wr.Runset:
        filters = (
            expr.Config("run") == run_name(self._records),
            *(expr.Config(key).isin(values) for key, values in {"stage": stages, **wanted}.items()),
            *filters,
        )
        return wr.Runset(entity=self._entity, project=self._project, name=name, filters=list(filters))

    def learning(self) -> list[wr.PanelGrid]:
        """Figures 4 to 11, or what stands for them, each with the notebook's curve; then both networks in one."""
        grids = []
        for subject in subjects(self._records):
            network = self._records.network(subject.contender) or ""
            paper = self._records.compare_with
            named = [subject.contender, *([notebook_label(network, paper)] if paper else [])]
            panel = self._curve(subject.heading, METRICS[subject.quantity.column])
            grids.append(self._trained([panel], subject.contender, stages=["train", PAPER], contender=named))
        panels = [self._curve(f"All networks: {name}", name) for name in ("train/loss", "validation/accuracy_percent")]
        panels.append(self._curve("Seconds of an epoch's training pass", "seconds/train"))
        return [*grids, self._trained(panels, "all networks", stages=["train"])]

    def _trained(
        self, panels: list[object], name: str, *, stages: list[str], **wanted: Sequence[object]
    ) -> wr.PanelGrid:
        """Panels over what the tables take the mean of: completed trainings under the run's own protocol."""
        completed = expr.Summary("status") == "completed"
        return self.grid(panels, name, completed, stages=stages, erratum=[NO_ERRATUM], **wanted)

    @staticmethod
    def _curve(heading: str, metric: str) -> wr.LinePlot:
        """A metric by epoch: each network's mean over its seeds, with a band of one deviation."""
        return wr.LinePlot(
            title=heading,
            x="epoch",
            y=[metric],
            title_x="epoch",
            groupby=wr.Config("contender"),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            layout=wr.Layout(w=24, h=10),
        )

    def search(self, settings: SearchSettings) -> list[wr.PanelGrid]:
        """All candidates at once, then the score along each axis: the others held, one network in a panel.

        A value that was held before an axis was tried on an earlier one; it is found by what it has in common with the
        others along the axis.
        """
        steps = search_path(self._records, settings)
        if not steps:
            return []
        score = wr.SummaryMetric(settings.metric)
        axes = dict.fromkeys(step.axis for step in steps)
        columns = [
            wr.ParallelCoordinatesPlotColumn(wr.Config("contender")),
            *(wr.ParallelCoordinatesPlotColumn(wr.Config(axis), log=_is_logarithmic(axis, steps)) for axis in axes),
            wr.ParallelCoordinatesPlotColumn(score, display_name=settings.words_with_unit),
        ]
        together = wr.ParallelCoordinatesPlot(columns=columns, title="All candidates", layout=wr.Layout(w=24, h=10))
        contenders = dict.fromkeys(step.contender for step in steps)
        runsets = [self._searched(contender, contender=[contender]) for contender in contenders]
        along = [self._axis(step, steps, settings) for step in steps]
        return [wr.PanelGrid(runsets=runsets, panels=[together]), *along]

    def _axis(self, step: Step, steps: Sequence[Step], settings: SearchSettings) -> wr.PanelGrid:
        """One axis of one network's search."""
        again = f" (pass {step.axis_pass})" if step.axis_pass > 1 else ""
        panel = wr.ScatterPlot(
            title=f"{step.contender}: {settings.words_with_unit} by {step.axis}{again}",
            x=wr.Config(step.axis),
            y=wr.SummaryMetric(settings.metric),
            log_x=_is_logarithmic(step.axis, steps),
            layout=wr.Layout(w=12, h=8),
        )
        held = {name: [value] for name, value in step.held.items()}
        along = self._searched(f"{step.contender}, {step.axis}{again}", contender=[step.contender], **held)
        return wr.PanelGrid(runsets=[along], panels=[panel])

    def _searched(self, name: str, **wanted: Sequence[object]) -> wr.Runset:
        """Candidates that gave a score: the search takes none of one that failed or diverged."""
        return self._runset(name, expr.Summary("status") == "completed", stages=["search"], **wanted)

    def timing(self) -> list[wr.PanelGrid]:
        """Seconds of a pass by batch size: each network alone, and each over the first, where the crossover is seen."""
        as_the_run = self._records.protocol.batch_statistics_at_test
        own_loader = self._records.protocol.notebook_loader
        timed = [
            row
            for row in self._records.timings
            if row["mode"] in (None, PLAIN_MODE)
            and row["batch_statistics"] == as_the_run
            and (not row["loader"] or row["notebook_loader"] == own_loader)
        ]
        contenders = list(dict.fromkeys(row["contender"] for row in timed))
        return [
            self.grid(
                self._test_time(contenders),
                f"{images} set, {'with loader' if loader else 'network alone'}",
                stages=["time"],
                set=[images],
                loader=[loader],
                batch_statistics=[as_the_run],
                mode=[PLAIN_MODE],
                **({"notebook_loader": [own_loader]} if loader else {}),
            )
            for images, loader in sorted({(row["set"], row["loader"]) for row in timed})
        ]

    @staticmethod
    def _test_time(contenders: Sequence[str]) -> list[object]:
        titles = {f"test_time/{name}/mean": f"{name}: mean seconds of a pass" for name in contenders}
        first, *others = contenders
        ratios = {ratio_metric(name, first): f"{name} over {first}: above 1, {first} is faster" for name in others}
        return [
            wr.ScatterPlot(
                title=heading,
                x=wr.Config("batch_size"),
                y=wr.SummaryMetric(metric),
                log_x=True,
                log_y=metric in titles,
                layout=wr.Layout(w=8, h=8),
            )
            for metric, heading in {**titles, **ratios}.items()
        ]
