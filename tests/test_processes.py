"""Work that two processes share is the work of one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from accelerate.utils import DistributedType
from conftest import ROOT
from safetensors.numpy import load_file
from shared_work import RUNS
from torch import nn
from toy import toy_split

from vitol import processes as processes_module
from vitol import resumption, training
from vitol.batches import SharedBatches
from vitol.boxes import best_ious_of_maps
from vitol.processes import shared_gradients, start, team
from vitol.resumption import team_lock
from vitol.snapshots import Position, SnapshotError


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> tuple[Path, Path]:
    """What one process and two processes leave."""
    folder = tmp_path_factory.mktemp("shared")
    toy_split(folder)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    for processes in ("1", "2"):
        command = [sys.executable, "-m", "shared_work", str(folder), processes]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        assert ended.returncode == 0, ended.stderr
    return folder / "out1", folder / "out2"


@pytest.mark.parametrize("run", [*RUNS, "four steps an epoch"])
def test_losses_of_twenty_steps_are_those_of_one_process(outputs, run):
    one, two = (json.loads((out / "losses.json").read_text())[run] for out in outputs)
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-5)
    assert one[0] != one[-1]


@pytest.mark.parametrize("run", RUNS)
def test_weights_after_twenty_steps_are_those_of_one_process(outputs, run):
    one, two = (load_file(out / "weights.safetensors") for out in outputs)
    for name in (name for name in one if name.startswith(f"{run} ")):
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=1e-4, err_msg=name)


def test_what_several_processes_broke_off_ends_as_if_they_had_not(outputs):
    for out in outputs:
        tensors = load_file(out / "weights.safetensors")
        names = [name.removeprefix("whole ") for name in tensors if name.startswith("whole ")]
        assert len(names) > 10
        for name in names:
            np.testing.assert_array_equal(
                tensors[f"broken off {name}"], tensors[f"whole {name}"], err_msg=name
            )


def test_processes_that_would_go_on_from_different_places_are_stopped(monkeypatch):
    class Two:
        """Another process, that has found nothing."""

        def gather(self, here: torch.Tensor) -> torch.Tensor:
            return torch.cat([here, torch.zeros_like(here)])

    monkeypatch.setattr(training, "team", Two)
    training.agree_on(Position(), torch.device("cpu"))
    expected = (
        r"different places \(epoch 0 step 0, epoch 3 step 20\); give them one folder that all of them see"
    )
    with pytest.raises(SnapshotError, match=expected):
        training.agree_on(Position(epoch=3, step=20), torch.device("cpu"))


@pytest.mark.parametrize("kind", ["DEEPSPEED", "FSDP"])
def test_a_launcher_that_asks_for_more_than_data_parallelism_is_refused(monkeypatch, kind):
    asked = type("Asked", (), {"distributed_type": DistributedType[kind]})
    monkeypatch.setattr(processes_module, "Accelerator", lambda **_: asked())
    with pytest.raises(ValueError, match=f"the launcher asks for {kind}; .*start it with torchrun"):
        team.__wrapped__()


def test_draws_of_padl_matter_to_these_losses(outputs):
    losses = json.loads((outputs[0] / "losses.json").read_text())
    assert abs(losses["MMp"][1] - losses["per image"][1]) > 1e-3 < abs(losses["MMp"][1] - losses["plain"][1])


def test_maps_and_scores_are_those_of_one_process_to_the_bit(outputs):
    one, two = (dict(np.load(out / "maps.npz")) for out in outputs)
    assert one.keys() == two.keys() and len(one) > 4
    for name, array in one.items():
        np.testing.assert_array_equal(two[name], array, err_msg=name)
    sizes, boxes = np.tile([24, 20], (32, 1)), [np.array([[2.0, 3.0, 20.0, 15.0]])] * 32
    whole = best_ious_of_maps(one["gar-release"], sizes, boxes)
    shards = [
        best_ious_of_maps(two["gar-release"][at], sizes[at], boxes[at])
        for at in (slice(0, 13), slice(13, 32))
    ]
    for name in whole._fields:
        merged = np.concatenate([getattr(shard, name) for shard in shards])
        np.testing.assert_array_equal(merged, getattr(whole, name))


@pytest.mark.parametrize(("images", "batch_size"), [(32, 8), (37, 8), (6, 8)])
@pytest.mark.parametrize("processes", [1, 2])
def test_shares_of_a_batch_make_the_batch_and_the_next_epoch_goes_on_from_there(
    images, batch_size, processes
):
    def epochs(process: int, processes: int) -> list[list[list[int]]]:
        order = torch.Generator().manual_seed(3)
        return [list(SharedBatches(images, batch_size, order, process, processes)) for _ in range(3)]

    whole = epochs(0, 1)
    assert whole[0] != whole[1]
    for batches in whole:
        assert len(batches) == max(images // batch_size, 1)
        assert len({index for batch in batches for index in batch}) == sum(map(len, batches))
    shares = [epochs(process, processes) for process in range(processes)]
    for epoch, batches in enumerate(whole):
        for number, batch in enumerate(batches):
            parts = [share[epoch][number] for share in shares]
            assert {len(part) for part in parts} == {len(batch) // processes}
            assert [parts[at % processes][at // processes] for at in range(len(batch))] == batch


def test_an_epoch_can_start_in_its_middle():
    whole, rest = (SharedBatches(30, 4, torch.Generator().manual_seed(0)) for _ in range(2))
    rest.first = 5
    assert list(rest) == list(whole)[5:]
    assert len(rest) == 7


@pytest.mark.parametrize(("images", "batch_size", "whole"), [(30, 9, 9), (5, 8, 5)])
def test_a_batch_that_cannot_be_shared_equally_is_refused(images, batch_size, whole):
    expected = f"2 processes cannot share a batch of {whole} images equally; give a batch size that is a multiple of 2"
    with pytest.raises(ValueError, match=expected):
        SharedBatches(images, batch_size, torch.Generator(), 0, 2)


def two_processes(monkeypatch, device):
    """Pretend that this process is one of two on a device, and that wrapping a model leaves it as it is."""
    fake = SimpleNamespace(num_processes=2, device=torch.device(device))
    monkeypatch.setattr(processes_module, "team", lambda: fake)
    monkeypatch.setattr(processes_module, "DistributedDataParallel", lambda model, device_ids: model)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_on_gpus_the_statistics_of_a_batch_are_shared_in_the_very_model_that_is_saved(monkeypatch, name):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=3).eval()
    images = torch.randn(2, 3, 64, 64)
    before, scores = dict(model.named_parameters()), model(images)
    names = list(model.state_dict())
    two_processes(monkeypatch, "cuda:0")
    for _ in range(2):  # as if it were trained on
        assert shared_gradients(model) is model
        layers = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        assert len(layers) > 3 and all(isinstance(part, nn.SyncBatchNorm) for part in layers)
        assert list(model.state_dict()) == names
        assert all(parameter is before[name] for name, parameter in model.named_parameters())
        assert torch.equal(model(images), scores)


def test_on_the_cpu_a_model_with_batch_statistics_is_refused_and_another_is_not(monkeypatch):
    two_processes(monkeypatch, "cpu")
    expected = (
        r"ResNet normalises by the statistics of a batch \(BatchNorm in conv1\.1\), which processes on the CPU cannot "
        r"share, .*; train in one process \(`processes: 1`\)"
    )
    with pytest.raises(ValueError, match=expected):
        shared_gradients(timm.create_model("test_resnet", num_classes=3))
    plain = nn.Linear(2, 2)
    assert shared_gradients(plain) is plain


def test_alone_a_model_stays_as_it_is():
    model = timm.create_model("test_resnet", num_classes=3)
    assert shared_gradients(model) is model
    assert not any(isinstance(part, nn.SyncBatchNorm) for part in model.modules())


@pytest.mark.parametrize("first", [True, False])
def test_the_first_process_locks_the_work_for_all_before_any_goes_on(monkeypatch, tmp_path, first):
    folder, told = tmp_path / "work", []

    def wait() -> None:
        told.append((folder / "lock").exists())

    fake = SimpleNamespace(is_main_process=first, wait_for_everyone=wait)
    monkeypatch.setattr(resumption, "team", lambda: fake)
    with team_lock(folder):
        assert told == [first]
        if first:
            with pytest.raises(ValueError, match="another run is at the same work"):
                team_lock(folder)
    if first:
        team_lock(folder).__exit__(None, None, None)


def test_a_classifier_that_several_processes_trained_is_that_of_one(outputs):
    folder = outputs[0].parent
    one, two = (load_file(folder / f"classifier{processes}.safetensors") for processes in (1, 2))
    assert one.keys() == two.keys() and len(one) > 10
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=1e-4, err_msg=name)
    assert not list(folder.glob("classifier*.resume"))


def test_alone_there_is_one_process():
    assert (team().num_processes, team().process_index, team().is_main_process) == (1, 0, True)


def test_one_process_and_launched_processes_start_no_others(monkeypatch):
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("a launcher was started"))
    start("experiments.baseline", [], 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    start("experiments.baseline", [], 2)


def test_several_processes_are_started_by_a_launcher_with_the_same_arguments(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    started = []
    monkeypatch.setattr(os, "execv", lambda _, command: started.append(command))
    start("experiments.baseline", ["--dataset", "mini"], 3)
    assert started[0][-4:] == ["--module", "experiments.baseline", "--dataset", "mini"]
    assert "--nproc-per-node=3" in started[0]


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(
        ValueError, match="4 processes need a GPU each and this machine has 2; ask for at most 2"
    ):
        start("experiments.baseline", [], 4)
