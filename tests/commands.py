"""The command in this process, where a process of its own would only take time."""

import sys
from unittest.mock import patch

import pytest

from dwray.cli import main


def in_process(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output and error of ``dwray ARGUMENTS``."""
    capsys.readouterr()
    with patch.object(sys, "argv", ["dwray", *arguments]), pytest.raises(SystemExit) as ended:
        main()
    out, error = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, error
