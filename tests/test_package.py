"""What a wheel installs: the package, the sweep files, the report's template; and what the tree must not hold."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_a_wheel_brings_the_sweeps_and_finds_them_by_name(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = tmp_path.glob("dwray-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    shipped = {f"dwray/sweeps/{path.name}" for path in (ROOT / "sweeps").glob("*.yaml")}
    assert shipped
    assert shipped <= names
    assert {"dwray/report/page/page.html.j2", "dwray/py.typed", "dwray/__init__.pyi"} <= names
    assert {f"dwray/paper/{name}" for name in ("facts.toml", "contradictions.toml", "notebook_curves.csv")} <= names
    assert not any(name.startswith(("tests/", "sweeps/")) for name in names)
    script = "from dwray.sweepfile import find, resolve; print(find('digits')); resolve('cifar100')"
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()) == tmp_path / "installed" / "dwray" / "sweeps" / "digits.yaml"


def test_the_tree_holds_no_address_of_a_package_registry_and_no_path_of_a_machine() -> None:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True)
    words = ["/roo" + "t/", "/wor" + "k/", "pypi." + "org", "files.python" + "hosted"]
    for name in listed.stdout.splitlines():
        content = (ROOT / name).read_bytes()
        found = [word for word in words if word.encode() in content]
        assert not found, f"{name} holds {found}"
