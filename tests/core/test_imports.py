"""What the core may import: torch, and nothing that belongs to the layers above it."""

import json
import pkgutil
import subprocess
import sys

import pytest

import dwray.core

ABOVE = ("ray", "wandb", "click", "rich", "pydantic", "yaml", "jinja2")


def modules() -> list[str]:
    return [module.name for module in pkgutil.walk_packages(dwray.core.__path__, "dwray.core.")]


def loaded_by(*names: str) -> set[str]:
    """The modules that a fresh interpreter has after importing these."""
    imports = "".join(f"import {name}\n" for name in names)
    code = f"{imports}import json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_core_needs_nothing_of_the_layers_above() -> None:
    names = modules()
    assert {"dwray.core.networks", "dwray.core.training", "dwray.core.sources_parquet"} <= set(names)
    loaded = loaded_by(*names)
    assert set(names) <= loaded
    assert "torch" in loaded
    assert not loaded & set(ABOVE)
    packages = {name for name in loaded if name.startswith("dwray.")}
    assert packages <= {"dwray.core", "dwray.errors", "dwray.paths", "dwray.storage", *names}


@pytest.mark.parametrize("name", ["dwray.core.config", "dwray.core"])
def test_the_settings_need_neither_torch_nor_numpy(name: str) -> None:
    assert not loaded_by(name) & {"torch", "numpy", "torchvision", *ABOVE}
