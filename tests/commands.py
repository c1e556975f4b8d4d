"""The command: in a process of its own, or in this one where that would only take time."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from dwray.cli import main

COMMAND = [sys.executable, "-m", "dwray"]
INTERRUPTIBLE = ["env", "--default-signal=INT", *COMMAND]
"""The same where a shell that runs its jobs in the background ignores SIGINT, which its children inherit."""


def dwray(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``dwray ARGUMENTS`` in a folder, on a terminal of 80 columns, to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def in_process(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output and error of ``dwray ARGUMENTS``."""
    capsys.readouterr()
    with patch.object(sys, "argv", ["dwray", *arguments]), pytest.raises(SystemExit) as ended:
        main()
    out, error = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, error
