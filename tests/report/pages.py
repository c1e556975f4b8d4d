"""A report to look at: figures with a notebook beside them, timed passes, and as many trials as are asked for."""

from pathlib import Path

import pyarrow as pa
from records import make_run
from trained import Training, trained_run

from dwray.report.document import Document, Listing, Section
from dwray.report.figures import figures
from dwray.report.timing_figures import timing_figures
from dwray.results.records import Records
from dwray.results.table import Column, Table

EVIL = "</script><script>document.title = 'owned'</script><img src=x onerror=alert(1)> & \"'` --> {{ 7 * 7 }}"

DEVICE = "a processor, 12 cores"

LISTINGS = (
    Listing("The commands", "dwray sweep sweep.yaml"),
    Listing("The sweep file", f"name: x\n# {EVIL}\n", file="sweep.yaml"),
)

TRIAL_COLUMNS = (
    Column("stage", "stage", pa.string(), group=True),
    Column("trial", "trial", pa.string()),
    Column("status", "status", pa.string()),
    Column("accuracy", "val. %", pa.float64(), ".2f"),
    Column("error", "error", pa.string(), wide=True),
)


def trials(count: int) -> Table:
    """Of each ten the first failed; their accuracies are in no order."""
    rows = [
        {
            "stage": "search" if number < count // 2 else "train",
            "trial": f"trial {number}",
            "status": "failed" if number % 10 == 0 else "completed",
            "accuracy": None if number % 10 == 0 else (number * 7919) % 10_000 / 100,
            "error": f"RuntimeError: out of memory in trial {number}" if number % 10 == 0 else None,
        }
        for number in range(count)
    ]
    return Table("trials", "Trials", TRIAL_COLUMNS, tuple(rows), ("Made up.",))


def example(runs: Path, count: int = 120) -> Document:
    """A document with everything that a page shows, and with what must be escaped everywhere."""
    trainings = [
        Training(network, seed, [2.0 / epoch + 0.1 * seed for epoch in range(1, 21)], network=network)
        for network in ("ConvNet", "DepthwiseConvNet")
        for seed in range(3)
    ]
    curves = figures(Records.read(trained_run(runs, trainings, dataset="cifar10", compare_with="cifar10")))
    timed = Table(
        "timed",
        "Table 4. Test time",
        (
            Column("data", "data", pa.string(), group=True),
            Column("network", "network", pa.string(), group=True),
            Column("device", "device", pa.string(), group=True),
            Column("images", "images", pa.int64(), group=True),
            Column("seconds", "mean s", pa.float64(), ".3f"),
        ),
        (
            {"data": "cifar10", "network": "A", "device": DEVICE, "images": 10_000, "seconds": 1.0},
            {"data": "cifar10", "network": "A", "device": DEVICE, "images": 10_000, "seconds": 2.0},
            {"data": "cifar10", "network": EVIL, "device": DEVICE, "images": 10_000, "seconds": None},
        ),
        (EVIL,),
    )
    return Document(
        title=f"example {EVIL}",
        subtitle=EVIL,
        provenance="measured on some CPU",
        answer=("A is the more accurate.", "B is faster.", "On some CPU."),
        sections=(
            Section("tables", "Tables", paragraphs=(EVIL,), tables=(timed,)),
            Section("figures", "Figures", figures=curves),
            Section("timing", "Timing", figures=timing_figures(Records.read(make_run(runs)))),
            Section("trials", "Trials", tables=(trials(count),), sortable=True),
            Section("reproduce", "How to reproduce it", listings=LISTINGS),
        ),
    )
