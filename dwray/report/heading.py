"""What stands above a report's tables in every form of it: which run, by which protocol, on which machine."""

from dwray.results.one_device import devices
from dwray.results.records import Records


def title(records: Records) -> str:
    """The sweep's name."""
    return records.identity.get("sweep", "sweep")


def subtitle(records: Records) -> str:
    """Which run a report is of, in one line."""
    identity = records.identity
    datasets = ", ".join(dict.fromkeys(row["dataset"] for row in records.trials))
    return (
        f"run {identity.get('run_id', '?')} on {datasets or 'no data'}"
        f"{' (SYNTHETIC)' if records.synthetic else ''}, dwray {identity.get('dwray_version', '?')}"
    )


def provenance(records: Records) -> str:
    """By which protocol, and on what, a run was measured, in one line; without a machine before its first trial."""
    trials = [row for row in records.trials if row["device"]]
    where = f"; measured on {devices(trials)}" if trials else ""
    return f"protocol: {records.protocol}{where}"
