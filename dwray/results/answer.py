"""The answer of a run in three sentences."""

from dwray.results.records import Records


def answer(records: Records) -> list[str]:
    """Which network wins at what, how sure that is, and on which machine it was measured: three sentences.

    Args:
        records: What a run measured, finished or not.
    """
    raise NotImplementedError
