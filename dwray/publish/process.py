"""Starting the publisher, and waiting for it no longer than it gets on."""

import contextlib
import json
import math
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dwray.paths import RunPaths
from dwray.publish.destination import CONNECTION, KEY, Destination
from dwray.publish.order import Order

STALL_SECONDS = 60.0
"""A publisher whose server took nothing for so long is ended: its server hangs.

Measured (dwray publish of 7 runs, on two cores that others used too, 2026-11-29) with a server that answers 401, 429 or
500, hangs, resets or refuses: given up after 2 to 12 s where it does so from the start, 4 to 22 s from the second run
on, 5 to 40 s at the tables, and there by this bound where it hangs. The bound of ``dwray publish`` is this long after
the last thing that was taken (and longer for large files); that of a sweep's end is SHARE's.
"""
SHARE, LEAST_SECONDS = 0.1, 5.0
"""A sweep that has ended waits so long while its publisher's server takes nothing: this share of its own time, or these
seconds if that is less, and STALL_SECONDS at most. While the server takes one thing after the other it waits for as
long as that goes on, up to STALL_SECONDS in all, or the share of its own time if that is more."""


@dataclass(frozen=True)
class Outcome:
    """What came of publishing."""

    sent: int = 0
    offline: int = 0
    report: str = ""
    project: str = ""
    error: str | None = None
    """Why it was given up, or why a run failed."""

    def in_words(self, paths: RunPaths) -> str:
        """One line for the user."""
        again = f"dwray publish {paths.folder}"
        if self.error:
            done = f" ({self.sent} runs are there)" if self.sent else ""
            return f"W&B: not all was sent{done}: {self.error}; to send the rest: {again}"
        if self.offline:
            return (
                f"W&B: {self.offline} runs written offline to {paths.wandb_folder}, the report to "
                f"{paths.wandb_report.name}; to send them: set {KEY}, then {again}"
            )
        return f"W&B: {self.sent} runs in {self.project}; report: {self.report}"


def _modest(folder: Path) -> dict[str, str]:
    """Variables by which the client keeps all that it writes in one folder, and its host's name to itself.

    PyArrow's own memory pool would keep 5 MB more.
    """
    own = {f"WANDB_{kind}_DIR": str(folder / "client") for kind in ("CONFIG", "CACHE", "DATA", "ARTIFACT")}
    quiet = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true", "WANDB_HOST": "dwray"}
    return {**own, **quiet, "ARROW_DEFAULT_MEMORY_POOL": "system"}


class Publisher:
    """The publisher of one run.

    Args:
        paths: The run.
        to: Where to.
        follow: The run goes on, and its records are published as they come.
    """

    def __init__(self, paths: RunPaths, to: Destination, *, follow: bool = False) -> None:
        self._follow, self._began = follow, time.monotonic()
        self._broken: str | None = None
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None
        try:
            self._process = self._start(paths)
        except OSError as error:  # a sweep goes on without its publisher
            self._broken = f"the publisher could not be started: {error}"
            return
        order = Order(str(paths.folder), to.entity, to.project, to.base_url, to.key, follow)
        self._say(json.dumps(asdict(order)))
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()

    def _say(self, line: str) -> None:
        """Tell its process something; one that has ended hears nothing."""
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()

    @staticmethod
    def _start(paths: RunPaths) -> "subprocess.Popen[str]":
        kept = {
            name: value for name, value in os.environ.items() if name in CONNECTION or not name.startswith("WANDB_")
        }
        paths.wandb_folder.mkdir(exist_ok=True)
        with (paths.wandb_folder / "publisher.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dwray.publish.worker"],
                env={**kept, **_modest(paths.wandb_folder)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C ends the sweep, which ends this in order
            )

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with contextlib.suppress(ValueError):  # the client's own words
                    found = json.loads(line)
                    if isinstance(found, dict):
                        self._broken = found.get("error", self._broken)
                        self._lines.put(found)
        self._lines.put(None)

    def finish(self) -> Outcome:
        """Let it publish what is left, and wait for that while it gets on; one that has given up is not waited for."""
        if self._broken or self._process is None:
            self.kill()
            return Outcome(error=self._broken)
        self._say("")
        try:
            return self._wait()
        finally:
            self.kill()

    def _wait(self) -> Outcome:
        began = time.monotonic()
        share = SHARE * (began - self._began)
        patience = min(STALL_SECONDS, max(LEAST_SECONDS, share)) if self._follow else STALL_SECONDS
        ends = began + max(STALL_SECONDS, share) if self._follow else math.inf
        more = 0.0
        while True:
            try:
                line = self._lines.get(timeout=max(0, min(patience + more, ends - time.monotonic())))
            except queue.Empty:
                late = time.monotonic() >= ends
                why = (
                    f"it was not done after {ends - began:.0f} s" if late else f"no answer for {patience + more:.0f} s"
                )
                return Outcome(error=why)
            if line is None:
                return Outcome(error=self._broken or "its process was ended")
            if "error" in line:
                return Outcome(error=line["error"])
            if "ended" in line:
                return _outcome(line["ended"])
            more = line.get("wait", 0.0)

    def stop(self, why: str) -> Outcome:
        """End it before all is sent."""
        self.kill()
        return Outcome(error=self._broken or why)

    def kill(self) -> None:
        """End its process; the client's service sees that, and ends within a second."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def _outcome(ended: Mapping[str, Any]) -> Outcome:
    counts = ended["counts"]
    return Outcome(
        sent=counts.get("sent", 0),
        offline=counts.get("offline", 0),
        report=ended["report"],
        project=ended["project"],
        error=ended["why"],
    )


def publish_run(paths: RunPaths, to: Destination) -> Outcome:
    """Publish all of a run that is there and was not published, from its records."""
    return Publisher(paths, to).finish()
