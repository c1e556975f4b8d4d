"""A sweep as a person watches it: on a terminal of 80 columns and 24 lines, to its end."""

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import COMMAND, in_process
from processes import suspended, trials_below, wait_until
from screen import shown
from tiny import TINY

from dwray.errors import EXIT_TRIALS_FAILED
from dwray.paths import RunPaths

COLUMNS, LINES = 80, 24


@contextmanager
def on_a_terminal(*arguments: str, folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", bytearray]]:
    """``dwray ARGUMENTS`` on a terminal of its own, and what it has written to that so far."""
    terminal, its_end = pty.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    unset = {"CI", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    written = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # the other end is closed: the process has ended
            while part := os.read(terminal, 65536):
                written.extend(part)

    reader = threading.Thread(target=read)
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**kept, "TERM": "xterm-256color"},
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
    ) as process:
        os.close(its_end)
        reader.start()
        try:
            yield process, written
        finally:
            process.kill()
            reader.join(60)
            os.close(terminal)


@pytest.mark.slow
def test_a_sweep_on_a_terminal_from_its_live_table_to_its_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The longest goes on when the one that fails, and is tried again, is no unknown of the time left any more.
    networks: dict[str, Any] = {"ConvNet": {"training": {"epochs": 250}}}
    networks["a-contender-with-a-long-name"] = {"network": "DepthwiseConvNet"}
    networks["fails"] = {"network": "ConvNet", "training": {"crop_padding": 10**7}}
    resources = {"gpus_per_trial": 0, "retries": 1}
    training = {**TINY["training"], "epochs": 40}
    short: dict[str, Any] = {"search": {}, "seeds": [0]}
    sweep = {**TINY, **short, "networks": networks, "training": training, "resources": resources}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(sweep))

    def status() -> dict[str, Any]:
        told = in_process("status", str(tmp_path / "runs" / "tiny"), "--json", capsys=capsys)[1]
        found: dict[str, Any] = json.loads(told)
        return found

    with on_a_terminal("sweep", "tiny.yaml", folder=tmp_path) as (process, output):
        wait_until(lambda: re.search(rb"[1-9] running", output))
        with suspended(trials_below(process.pid)):
            wait_until(lambda: any(stage["running"] for stage in status()["stages"]))
            running = status()
        code = process.wait(240)
    written = output.decode()
    assert code == EXIT_TRIALS_FAILED, written
    frames = re.sub(r"\x1b\[[0-9;]*m", "", written)
    assert re.search(r"train: \d done( \(1 failed\))?, \d running, \d left, CPUs \d+/\d+", frames)
    assert re.search(r"about (\d+ s|\d+:\d\d)\s+left", frames), "from measured epochs"
    assert "best so far: " in frames
    assert re.search(r"a-contender-with-a-long-name +seed=0 +\d+/40 ", frames)
    lines = shown(written.replace("\r\n", "\n"))
    text = "\n".join(lines)
    assert not re.search(r"\d running", text), "the live table is gone"
    table = [line for line in lines if not line.startswith(("run ", "report", "records", "W&B", "dwray:", "  train: "))]
    paths = RunPaths.find("tiny", tmp_path / "runs")
    for said in (
        "Table 2. Accuracy",
        "Accuracy on the test set: ",
        "1 of the trials failed:",
        "train: fails seed=0 (tried 2 times): RuntimeError",
        "fails: 1 failed",
        f"once that is mended, 1 of them can be tried again: dwray resume {paths.folder}",
        f"report:  {paths.html}",
        f"W&B:     not published; dwray publish {paths.folder}",
    ):
        assert said in text
    assert text.index("Table 2") < text.index("Accuracy on the test set") < text.index("1 of the trials failed")
    assert max(len(line) for line in table if "/" not in line and "Error" not in line) <= COLUMNS
    assert running["state"] == "running", "as seen from elsewhere while it went on"
    assert running["driver"]["process"] == process.pid
    assert json.loads(in_process("status", str(paths.folder), "--json", capsys=capsys)[1])["state"] == "failed"
    as_json = json.loads(in_process("report", str(paths.folder), "--json", capsys=capsys)[1])
    measured = {row["contender"] for row in as_json["tables"]["accuracy"]}
    assert measured == {"ConvNet", "a-contender-with-a-long-name"}
