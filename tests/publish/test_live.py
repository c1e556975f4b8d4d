"""``dwray publish`` to W&B itself, or a server of one's own: what no stand-in can show."""

import os
from pathlib import Path

import pytest
from publishing import a_copy, publish

pytestmark = pytest.mark.slow


@pytest.mark.skipif("DWRAY_TEST_WANDB_KEY" not in os.environ, reason="no key of W&B in DWRAY_TEST_WANDB_KEY")
def test_with_a_real_account(tmp_path: Path) -> None:
    """Publishes to the project dwray-test of the key's owner, at WANDB_BASE_URL or W&B's own cloud."""
    account = {"WANDB_API_KEY": os.environ["DWRAY_TEST_WANDB_KEY"], "WANDB_PROJECT": "dwray-test"}
    if url := os.environ.get("WANDB_BASE_URL"):
        account["WANDB_BASE_URL"] = url
    paths = a_copy(tmp_path)
    once, again = (publish(paths, **account) for _ in range(2))
    assert (once.returncode, once.stderr) == (0, "")
    assert (again.returncode, again.stdout) == (0, once.stdout)
