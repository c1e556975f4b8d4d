"""The columns of a run's Parquet files: one schema a table, with units in the names and a description for each column.

A column that an older reader does not know may be added; anything else raises SCHEMA_VERSION.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 2

_TEXT, _INTEGER, _NUMBER, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_TIME = pa.timestamp("ms", tz="UTC")

_SWITCHES = [
    ("momentum_reset_each_epoch", _FLAG, "protocol: the optimizer was made anew every epoch"),
    ("tune_on_test_set", _FLAG, "protocol: the test set was the validation set"),
    ("normalisation", _TEXT, "protocol: dataset or imagenet"),
    ("notebook_loader", _FLAG, "protocol: batches were made image by image in two worker processes"),
    ("validation_loss_over_batches_minus_one", _FLAG, "protocol: the divisor of the validation loss"),
]

STAGES = ("search", "train", "time")
"""Of a run, in their order."""

STATUSES = ("running", "completed", "diverged", "failed", "interrupted")
"""What can become of a trial: it runs, or it came to one of four ends."""


LATER = "later"
"""Marks a column that a file of this version may lack: it was added to the version, and is null there."""
ALWAYS = "always"
"""Marks a column that is never null."""


def _schema(columns: Iterable[tuple[str, pa.DataType, str] | tuple[str, pa.DataType, str, str]]) -> pa.Schema:
    return pa.schema(
        [
            pa.field(name, kind, metadata={"description": text, **dict.fromkeys(added, "yes")})
            for name, kind, text, *added in columns
        ]
    )


TRIALS = _schema(
    [
        ("trial_id", _TEXT, "Ray Tune's id of the trial", ALWAYS),
        ("trial", _TEXT, "the trial's name, unique within its stage"),
        ("stage", _TEXT, "search, train or time", ALWAYS),
        (
            "contender",
            _TEXT,
            "name of the contender in the sweep file; null for a timing, which times all of them",
        ),
        ("network", _TEXT, "entry of the NETWORKS registry"),
        ("width", _NUMBER, "width multiplier"),
        ("parameters", _INTEGER, "trainable parameters"),
        ("macs", _INTEGER, "multiply-accumulates of a forward pass over one image"),
        ("dataset", _TEXT, "source of the images"),
        ("classes", _INTEGER, "classes of the images"),
        ("synthetic", _FLAG, "the images are random numbers: no accuracy here means anything"),
        ("axis", _TEXT, "search: the axis that this trial varies"),
        ("axis_pass", _INTEGER, "search: which pass over the axes, from 1"),
        ("winner", _FLAG, "search: this configuration won its contender's search"),
        ("seed", _INTEGER, "seed of the initial weights, the order and the augmentation"),
        ("epochs", _INTEGER, "epochs that were asked for"),
        ("batch_size", _INTEGER, "images a training step; of a timing, images a forward pass"),
        ("initial_lr", _NUMBER, "learning rate of the first epoch"),
        ("lr_decay", _NUMBER, "factor on the learning rate after each epoch"),
        ("weight_decay", _NUMBER, "L2 coefficient"),
        ("momentum", _NUMBER, "momentum of SGD"),
        ("nesterov", _FLAG, "Nesterov's form of momentum"),
        ("crop_padding", _INTEGER, "random crops: padding in pixels"),
        ("flip", _FLAG, "random horizontal flips"),
        ("precision", _TEXT, "float32, tf32 or bfloat16", LATER),
        ("memory_format", _TEXT, "channels_last or contiguous", LATER),
        ("compile", _FLAG, "trained by torch.compile", LATER),
        *_SWITCHES,
        ("train_images", _INTEGER, "images that were trained on"),
        ("status", _TEXT, ", ".join(STATUSES), ALWAYS),
        ("failures", _INTEGER, "how often the trial failed; it may have completed all the same"),
        ("error", _TEXT, "last line of the last failure"),
        ("epochs_done", _INTEGER, "epochs that were trained"),
        ("train_loss", _NUMBER, "of the last epoch, nats"),
        ("train_accuracy_percent", _NUMBER, "of the last epoch, while it learned"),
        ("train_set_accuracy_percent", _NUMBER, "of the training images after training, as the protocol scores a test"),
        ("validation_loss", _NUMBER, "after the last epoch, nats"),
        ("validation_accuracy_percent", _NUMBER, "after the last epoch"),
        ("test_loss", _NUMBER, "after training, nats"),
        ("test_accuracy_percent", _NUMBER, "after training"),
        (
            "batch_statistics_test_accuracy_percent",
            _NUMBER,
            "after training, batch norm with the statistics of each batch (as the paper measured)",
        ),
        ("step_flops", _INTEGER, "FLOPs of convolutions and matrix products in a training step", LATER),
        ("step_bytes", _INTEGER, "bytes that a training step moves at the least", LATER),
        (
            "matrix_flops_per_second",
            _NUMBER,
            "of a large matrix product on the device, in the trial's precision",
            LATER,
        ),
        ("copy_bytes_per_second", _NUMBER, "read and written by a large copy on the device", LATER),
        ("unavailable", _TEXT, "of a timing: why the device does not have its mode", LATER),
        ("seconds", _NUMBER, "from the trial's start to its end, retries included"),
        ("device", _TEXT, "model of the GPU or CPU"),
        ("threads", _INTEGER, "CPU threads of the trial"),
        ("host", _TEXT, "name of the machine"),
        ("started_at", _TIME, "when it first started"),
        ("ended_at", _TIME, "when it ended"),
    ]
)

EPOCHS = _schema(
    [
        ("trial_id", _TEXT, "the trial in trials.parquet", ALWAYS),
        ("stage", _TEXT, "search or train"),
        ("contender", _TEXT, "name of the contender"),
        ("seed", _INTEGER, "seed of the trial"),
        ("epoch", _INTEGER, "from 1", ALWAYS),
        ("learning_rate", _NUMBER, "of this epoch"),
        ("train_loss", _NUMBER, "mean over the epoch's images, nats"),
        ("train_accuracy_percent", _NUMBER, "mean over the epoch's images, while it learned"),
        ("validation_loss", _NUMBER, "after the epoch, nats"),
        ("validation_accuracy_percent", _NUMBER, "after the epoch"),
        ("data_seconds", _NUMBER, "gathering, augmenting and normalising batches"),
        ("step_seconds", _NUMBER, "forward, backward and optimizer"),
        ("train_seconds", _NUMBER, "the training pass: data and steps"),
        ("validation_seconds", _NUMBER, "the validation pass"),
        ("images_per_second", _NUMBER, "training images over train_seconds"),
        ("diverged", _FLAG, "a loss became NaN or infinite"),
        ("synthetic", _FLAG, "the images are random numbers"),
        ("reported_at", _TIME, "when the driver heard of it"),
    ]
)

TIMINGS = _schema(
    [
        ("trial_id", _TEXT, "the trial in trials.parquet", ALWAYS),
        ("contender", _TEXT, "name of the contender", ALWAYS),
        ("set", _TEXT, "train, validation or test", ALWAYS),
        ("batch_size", _INTEGER, "images a forward pass", ALWAYS),
        ("loader", _FLAG, "batching, copy to the device and normalisation are inside the time", ALWAYS),
        ("pass_number", _INTEGER, "from 1, in the order in which the passes ran", ALWAYS),
        ("images", _INTEGER, "images of the pass", ALWAYS),
        ("seconds", _NUMBER, "of the pass", ALWAYS),
        ("images_per_second", _NUMBER, "images over seconds"),
        ("batch_statistics", _FLAG, "batch norm was in training mode", ALWAYS),
        ("mode", _TEXT, "how the network was run, PRECISION-VARIANT; null is float32-eager", LATER),
        ("notebook_loader", _FLAG, "the loader is the notebooks': image by image in two worker processes"),
        ("device", _TEXT, "model of the GPU or CPU"),
        ("threads", _INTEGER, "CPU threads"),
        ("synthetic", _FLAG, "the images are random numbers"),
        ("exclusive", _FLAG, "nothing else used the device meanwhile; null where that cannot be known"),
        ("owned_node", _FLAG, "the trial held all of its node, so that Ray ran nothing beside it", LATER),
        ("disturbance", _TEXT, "why the timing was not exclusive, or could not be shown to be"),
        ("load_average", _NUMBER, "of the machine over the last minute, after the passes"),
        ("other_cpu_seconds", _NUMBER, "CPU time of other processes during the passes of this kind"),
        ("other_gpu_processes", _INTEGER, "other processes on the GPU"),
        ("sm_clock_mhz_before", _INTEGER, "the GPU's clock before the passes, MHz"),
        ("sm_clock_mhz_after", _INTEGER, "the GPU's clock after the passes, MHz"),
        ("throttle_reasons", _TEXT, "what held the GPU's clock down"),
    ]
)


def to_table(schema: pa.Schema, rows: Iterable[Mapping[str, Any]], identity: Mapping[str, str]) -> pa.Table:
    """Rows as a table of a schema; a column that a row leaves out is null.

    Args:
        schema: One of this module's.
        rows: Values by column.
        identity: Metadata of the file: which run it is of.

    Raises:
        KeyError: A row has a value that the schema has no column for.
    """
    rows = list(rows)
    names = set(schema.names)
    for row in rows:
        if not names.issuperset(row):
            raise KeyError(f"no column for {sorted(set(row) - names)}")
    metadata = {"schema_version": str(SCHEMA_VERSION), **identity}
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in schema.names} for row in rows],
        schema=schema.with_metadata(metadata),
    )
