"""The benchmark of maps: its rival makes the maps it claims to, and its figures mean what they say."""

import subprocess

import numpy as np
import pandas as pd
import pytest
import timm
import torch

from experiments.benchmarks import maps, passes
from experiments.benchmarks.passes import BACKWARD, FORWARD, Case, Pass
from experiments.benchmarks.release_loop import LOOP_METHODS, loop_maps
from vitol.maps import localization_maps

TINY = Case("test_vit", batch=2, device="cpu")


@pytest.fixture
def golden_model(golden_maps):
    config = {k.removeprefix("config/"): int(v) for k, v in golden_maps.items() if k.startswith("config/")}
    model = timm.create_model("vit_tiny_patch16_224", **config).double().eval()
    weights = {k: torch.tensor(v) for k, v in golden_maps.items() if k.startswith("weights/")}
    model.load_state_dict({k.removeprefix("weights/"): v for k, v in weights.items()})
    return model


def relative(ours, reference):
    ours, reference = np.asarray(ours), np.asarray(reference)
    return np.abs(ours.reshape(reference.shape) - reference).max() / np.abs(reference).max()


@pytest.mark.parametrize(
    ("method", "normalize_rows", "name", "tolerance"),
    [
        ("ar", None, "map_ar_normalized", 1e-10),
        ("gar", None, "map_gar_normalized", 1e-10),
        ("gar", False, "map_gar_unnormalized", 1e-10),
        ("lrp", None, "map_lrp", 2e-5),
    ],
)
def test_the_loop_makes_the_originals_maps(
    golden_model, golden_maps, method, normalize_rows, name, tolerance
):
    images, targets = torch.tensor(golden_maps["images"]), torch.tensor(golden_maps["targets"])
    made = loop_maps(golden_model, images, targets, method, normalize_rows=normalize_rows)
    assert made.shape == (5, 4, 4)
    assert relative(made, golden_maps[name]) < tolerance
    literal = loop_maps(
        golden_model, images, targets, method, normalize_rows=normalize_rows, as_released=True
    )
    assert relative(literal, golden_maps[name]) < 1e-10


@pytest.mark.parametrize("method", LOOP_METHODS)
def test_the_loop_agrees_with_vitol(vit, images, method):
    targets = torch.tensor([0, 1, 2, 3])
    ours = localization_maps(vit, images, targets, method)
    assert relative(loop_maps(vit, images, targets, method), ours) < (2e-5 if method == "lrp" else 1e-12)
    in_float32 = loop_maps(vit.float(), images.float(), targets, method)
    assert in_float32.dtype == torch.float32
    if method != "lrp":  # which float32 can make any number of
        assert relative(in_float32, ours) < 1e-4


@pytest.mark.parametrize("method", LOOP_METHODS)
def test_the_loop_takes_its_hooks_away(vit, images, method):
    flags = [block.attn.fused_attn for block in vit.blocks]
    loop_maps(vit, images, torch.tensor([0, 1, 2, 3]), method)
    assert [block.attn.fused_attn for block in vit.blocks] == flags
    assert not any(module._forward_hooks for module in vit.modules())


def test_the_loop_has_every_parameters_gradient_computed_for_gar_and_none_for_ar(vit, images):
    loop_maps(vit, images, torch.tensor([0, 1, 2, 3]), "ar")
    assert all(parameter.grad is None for parameter in vit.parameters())
    loop_maps(vit, images, torch.tensor([0, 1, 2, 3]), "gar")
    assert all(parameter.grad is not None for parameter in vit.parameters())


def test_the_cheapest_backward_pass_reaches_the_first_blocks_matrix(golden_model, golden_maps):
    images, targets = torch.tensor(golden_maps["images"]), torch.tensor(golden_maps["targets"])
    run = passes._cheapest_backward(golden_model, images, targets)
    for _ in range(2):
        assert relative(run(), golden_maps["attention_gradient"][:, 0]) < 1e-10
    assert not any(parameter.requires_grad for parameter in golden_model.parameters())


def test_every_pass_has_its_own_name_and_lrp_every_precision():
    found = passes.passes_of(["ar", "gar", "lrp", "legrad"])
    labels = [what.label for what in found]
    assert len(set(labels)) == len(labels)
    assert labels[:5] == [
        "forward, fused attention",
        "forward + cheapest backward",
        "AR, per-image loop",
        "AR, per-image loop as released",
        "AR",
    ]
    assert labels[-6:] == [
        "LRP, per-image loop",
        "LRP, per-image loop as released",
        "LRP, mixed",
        "LRP, model",
        "LRP, double",
        "legrad",
    ]


@pytest.mark.parametrize("what", passes.passes_of(["gar", "lrp"]), ids=lambda what: what.label)
def test_every_pass_runs(what):
    passes.prepare(TINY, what)()


def test_only_the_loop_takes_fewer_images_than_the_batch():
    assert Pass("loop", "gar").images(32) == passes.LOOP_IMAGES
    assert Pass("loop", "gar").images(2) == 2
    assert Pass("vitol", "gar").images(32) == FORWARD.images(32) == 32


def test_rounds_are_interleaved_and_warm_up_is_left_out(monkeypatch):
    called = []
    monkeypatch.setattr(maps, "prepare", lambda case, what: lambda: called.append(what))
    seconds = maps.time_passes(TINY, [FORWARD, BACKWARD], repeats=3)
    assert called == [FORWARD, BACKWARD] * (maps.WARM_UP + 3)
    assert [len(seconds[what]) for what in (FORWARD, BACKWARD)] == [3, 3]


def test_ratios_are_medians_of_ratios_within_a_round(monkeypatch):
    loop, released = Pass("loop", "gar"), Pass("loop", "gar", passes.AS_RELEASED)
    gar = Pass("vitol", "gar")
    # The loop's ratios are 9, 1 and 2; the ratio of the medians would be 2.25.
    times = {
        FORWARD: [1.0, 1.0, 1.0],
        BACKWARD: [2.0, 2.0, 2.0],
        loop: [9.0, 4.0, 20.0],
        released: [10.0, 12.0, 60.0],
        gar: [1.0, 4.0, 10.0],
    }
    monkeypatch.setattr(maps, "time_passes", lambda *_: times)
    monkeypatch.setattr(maps, "peak_memory", lambda case, what: 7.0)
    frame = maps.measure(TINY, list(times), repeats=3).set_index("pass")
    assert frame.loc["GAR", "images_per_second"] == pytest.approx(1 / 4)
    ratios = ["loop_ratio", "released_ratio", "forward_ratio", "backward_ratio"]
    assert frame.loc["GAR", ratios].tolist() == [2, 6, 4, 2]
    assert frame.loc["GAR, per-image loop", "forward_ratio"] == 9
    assert frame["loop_ratio"].notna().tolist() == [False, False, False, False, True]
    assert frame["gar_ratio"].isna().all() and (frame["peak_mib"] == 7).all()


def test_peak_memory_counts_what_a_pass_holds_beyond_its_model():
    case = Case("test_vit", batch=16, device="cpu")
    peak = passes.peak_memory(case, BACKWARD)
    if np.isnan(peak):
        pytest.skip("this system does not tell the peak memory of a process")
    heads, tokens, blocks = 2, 101, 6
    matrices = case.batch * heads * tokens**2 * 4 * blocks / passes.MEBIBYTE
    # The matrices alone are there at once, besides what the other layers keep for the way back.
    assert matrices < peak < 40 * matrices


def test_a_measurement_that_dies_says_which_and_why(monkeypatch):
    dead = subprocess.CompletedProcess([], -9, stdout="", stderr="no memory left\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: dead)
    with pytest.raises(RuntimeError, match=r"GAR of Case\(.*ended with -9 .* it said: no memory left"):
        passes.peak_memory(TINY, Pass("vitol", "gar"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_peak_memory_on_a_gpu_grows_with_the_batch():
    few, many = (passes.peak_memory(Case("test_vit", batch, "cuda"), BACKWARD) for batch in (2, 32))
    assert 0 < few < many


def test_the_benchmark_prints_its_tables_and_writes_them(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(maps, "peak_memory", lambda case, what: 10.0 + (what == maps.GAR))
    # fmt: off
    maps.main(["--models", "test_vit", "--batches", "1", "2", "--methods", "gar", "--repeats", "1",
               "--device", "cpu", "--depths", "2", "3", "--results", str(tmp_path / "new")])
    # fmt: on
    printed = capsys.readouterr().out
    assert "run on cpu" in printed and "random weights" in printed
    assert "test_vit, batch 2" in printed and "GAR, per-image loop" in printed
    frame = pd.read_csv(tmp_path / "new/maps.csv")
    assert frame["batch"].tolist() == [1] * 5 + [2] * 5
    assert set(maps.COLUMNS) | {"architecture", "pass", "repeats", "machine", "torch"} <= set(frame.columns)
    assert (frame["images_per_second"] > 0).all()
    depths = pd.read_csv(tmp_path / "new/maps_depth.csv")
    assert depths["depth"].tolist() == [2, 3] and depths["extra_mib"].tolist() == [1, 1]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["maps.csv", "maps_depth.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repeats", "0"], "--repeats 0 leaves nothing to measure"),
        (["--batches", "8", "0"], r"--batches [8, 0] has a number below 1"),
        (["--methods", "cam"], "invalid choice: 'cam'"),
    ],
)
def test_wrong_options_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        maps.main(arguments)
    assert message in capsys.readouterr().err
