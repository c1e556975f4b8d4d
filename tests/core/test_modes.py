"""Precision and compilation: what is available, and that outputs stay what they are."""

import ast
import copy
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from dwray.core.folding import fold_batch_norm
from dwray.core.modes import MODES, Mode, compiler_error, modes_of, output_error, prepare, unavailable
from dwray.core.networks import NETWORKS
from dwray.core.precision import has_bfloat16
from dwray.core.testtime import Measured, activation_bytes, free_bytes, measure, paired_rounds, random_images, untrained
from dwray.core.testtime import Plan as TimePlan
from dwray.errors import UserError

CPU = torch.device("cpu")
IMAGES = random_images(32, 8, CPU)
VARIANTS = ("eager", "folded", "compiled", "cuda-graph")
FLOAT32 = Mode("float32", "eager")


def network(name: str = "ConvNet") -> nn.Module:
    return untrained(name, classes=5, width=0.125, images=IMAGES)


def test_the_modes_have_names() -> None:
    precisions = ("float32", "tf32", "bfloat16")
    assert list(MODES) == [f"{precision}-{variant}" for precision in precisions for variant in VARIANTS]
    assert MODES["bfloat16-compiled"] == Mode("bfloat16", "compiled")


def test_what_only_gpus_have_is_neither_a_processors_mode_nor_available_on_it() -> None:
    of_cpu = set(map(str, modes_of(CPU)))
    assert of_cpu == {f"{name}-{variant}" for name in ("float32", "bfloat16") for variant in VARIANTS[:3]}
    assert len(modes_of(torch.device("cuda"))) == len(MODES)
    assert unavailable(MODES["tf32-eager"], CPU) == "no TF32 on this device: NVIDIA GPUs have it from Ampere on"
    assert unavailable(MODES["float32-cuda-graph"], CPU) == "CUDA graphs need a GPU"


@pytest.mark.parametrize(
    ("flags", "native"), [("fpu avx512_bf16 sse", True), ("amx_bf16", True), ("avx512f avx2 bf16", False), ("", False)]
)
def test_bfloat16_needs_a_processor_that_computes_in_it(tmp_path: Path, flags: str, native: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name\t: avx512_bf16\nflags\t\t: {flags}\n")
    assert has_bfloat16(CPU, tmp_path / "cpuinfo") is native
    assert not has_bfloat16(CPU, tmp_path / "missing")


def test_a_missing_compiler_is_the_reason(tmp_path: Path) -> None:
    script = (
        "import torch; from dwray.core.modes import MODES, unavailable; cpu = torch.device('cpu')\n"
        "print([unavailable(MODES[mode], cpu) for mode in ('float32-eager', 'float32-compiled')])"
    )
    environment = {**os.environ, "CXX": str(tmp_path / "no-compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    eager, compiled = ast.literal_eval(ran.stdout)
    assert eager is None
    assert compiled.startswith("torch.compile does not work here: ")
    assert "no-compiler" in compiled
    assert "\n" not in compiled


@pytest.mark.parametrize("name", ["ConvNet", "DepthwiseConvNet"])
def test_float32_eager_is_the_network_itself(name: str) -> None:
    original = network(name)
    prepared = prepare({name: original}, FLOAT32, IMAGES)[name]
    assert prepared is original
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("name", ["ConvNet", "DepthwiseConvNet"])
def test_bfloat16_computes_nearly_the_same_with_a_copy(name: str) -> None:
    original = network(name)
    before = copy.deepcopy(original.state_dict())
    prepared = prepare({name: original}, Mode("bfloat16", "eager"), IMAGES)[name]
    assert {parameter.dtype for parameter in prepared.parameters()} == {torch.bfloat16}
    assert all(torch.equal(before[key], value) for key, value in original.state_dict().items())
    assert 1e-4 < output_error(prepared, original, IMAGES, torch.bfloat16) < 0.8


@pytest.mark.parametrize("name", ["ConvNet", "DepthwiseConvNet"])
def test_folding_removes_every_batch_norm_and_changes_no_output(name: str) -> None:
    original = network(name)
    before = copy.deepcopy(original.state_dict())
    folded = prepare({name: original}, Mode("float32", "folded"), IMAGES)[name]
    assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(torch.equal(before[key], value) for key, value in original.state_dict().items())
    convolutions = [module for module in folded.modules() if isinstance(module, nn.Conv2d)]
    assert all(each.weight.is_contiguous(memory_format=torch.channels_last) for each in convolutions)
    with torch.no_grad():
        assert output_error(folded, original, IMAGES, torch.float32) < 1e-4


def test_a_batch_norm_that_follows_no_convolution_stays() -> None:
    mixed = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten()).eval()
    mixed[0].running_mean.fill_(0.5)
    mixed[3].running_var.fill_(4.0)
    folded = fold_batch_norm(mixed)
    assert [type(module).__name__ for module in folded] == [type(module).__name__ for module in mixed]
    with torch.no_grad():
        assert torch.equal(folded(IMAGES), mixed(IMAGES))


@pytest.mark.slow
def test_one_compilation_serves_all_batch_sizes() -> None:
    if reason := compiler_error(CPU):
        pytest.skip(reason)
    original = network("DepthwiseConvNet")
    prepared = prepare({"mine": original}, Mode("float32", "compiled"), IMAGES)["mine"]
    with torch.no_grad(), torch.compiler.set_stance("fail_on_recompile"):
        for size in (1, 2, 3, 7, 15, 16, 17, 23, 32):
            images = random_images(size, 8, CPU)
            assert torch.allclose(prepared(images), original(images), atol=1e-4)


class Broken(nn.Module):
    """A network that computes something else in bfloat16."""

    def __init__(self, wrong: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.wrong = wrong

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        outputs = images.flatten(1) * self.weight
        return outputs * self.wrong if images.dtype == torch.bfloat16 else outputs


@pytest.mark.parametrize("wrong", [0.0, -1.0, 2.0, float("nan")])
def test_other_outputs_are_an_error(wrong: float) -> None:
    with pytest.raises(RuntimeError, match="mine computes something else as bfloat16-eager"):
        prepare({"mine": Broken(wrong)}, Mode("bfloat16", "eager"), IMAGES)
    prepare({"mine": Broken(1.0)}, Mode("bfloat16", "eager"), IMAGES)


class FailsAtThree(nn.Module):
    """A network that fails at batches of three images: compiled by a graph break, or always for want of memory."""

    def __init__(self, always: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 8 * 8, 5)
        self.always = always

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) == 3:
            if self.always:
                raise RuntimeError("\nnot enough memory\nat all")
            torch._dynamo.graph_break()
        outputs: torch.Tensor = self.layer(images.flatten(1))
        return outputs


def measure_failing(monkeypatch: pytest.MonkeyPatch, *modes: Mode, always: bool) -> Measured:
    def make(*_: object, **__: object) -> nn.Module:
        return FailsAtThree(always)

    monkeypatch.setitem(NETWORKS, "mine", dataclasses.replace(NETWORKS["ConvNet"], make=make))
    plan = TimePlan(CPU, 8, (4, 3), 12, 1, modes, None)
    return measure(["mine"], plan, classes=5, width=0.125, listen=lambda _line: None)


@pytest.mark.slow
def test_a_mode_that_fails_loses_its_own_figures_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := compiler_error(CPU):
        pytest.skip(reason)
    found = measure_failing(monkeypatch, Mode("float32", "compiled"), FLOAT32, always=False)
    assert [(each.mode, each.batch_size) for each in found.times] == [("float32-eager", 4), ("float32-eager", 3)]
    assert list(found.unavailable) == ["float32-compiled"]
    assert "graph_break" in found.unavailable["float32-compiled"]
    assert "\n" not in found.unavailable["float32-compiled"]


def test_without_a_mode_that_works_there_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^float32-eager: not enough memory$"):
        measure_failing(monkeypatch, FLOAT32, always=True)


def test_an_untrained_network_has_activations_of_an_ordinary_size() -> None:
    original = network("DepthwiseConvNet")
    assert not original.training
    sizes = []
    for module in original.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.std().item()))
            assert module.momentum == 0.1
    with torch.no_grad():
        original(IMAGES)
    assert all(0.5 < size < 1.5 for size in sizes)


def test_memory_is_estimated_and_kept_to() -> None:
    image = IMAGES[:1]
    layer = nn.Sequential(nn.Conv2d(3, 7, 1), nn.ReLU())
    assert activation_bytes(layer, image) == 2 * (7 + 7) * 8 * 8 * 4
    free = free_bytes(CPU)
    assert free is not None
    assert free > 2**20
    plan = TimePlan(CPU, 8, (10**9,), 1, 1, (FLOAT32,), None)
    with pytest.raises(UserError, match="a batch of 1000000000 images may not fit"):
        measure(["ConvNet"], plan, classes=5, width=0.125, listen=lambda _line: None)


def test_rounds_alternate_who_goes_first_and_last_long_enough() -> None:
    order: list[str] = []
    pair = (network(), network("DepthwiseConvNet"))
    for name, each in zip("ab", pair, strict=True):
        each.register_forward_hook(lambda _module, inputs, _output, name=name: order.append(name))
    rounds = paired_rounds(pair, IMAGES[:4])
    next(rounds)
    firsts = []
    for _ in range(4):
        order.clear()
        seconds = next(rounds)
        firsts.append(order[0])
        assert order.count("a") * 4 * seconds[0] > 0.001
        assert sorted(set(order)) == ["a", "b"]
    assert firsts == ["b", "a", "b", "a"]
