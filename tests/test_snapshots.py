import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from conftest import ROOT, full_disk
from safetensors.torch import load_file, save_file
from toy import RECIPE, toy_split, train_toy, weights

from vitol import training
from vitol.recipe import Recipe
from vitol.snapshots import SnapshotError, Snapshots, differing, read_header

SETTINGS = {"recipe": {"lr": 3e-3}, "seed": 0}


class Interrupted(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture(autouse=True)
def look_at_every_second_step(monkeypatch):
    monkeypatch.setattr(training, "LOOK_EVERY", 2)


def interrupted(split, root, folder, after, **arguments):
    """Train until `after` steps are done, then break off."""

    def stop(done, total):
        if done == after * 8:
            raise Interrupted

    with pytest.raises(Interrupted):
        train_toy(split, root, snapshots=Snapshots(folder, SETTINGS, 0), progress=stop, **arguments)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lamb"])
@pytest.mark.parametrize("after", [1, 3, 4, 6, 12])
def test_a_run_that_was_broken_off_ends_as_one_that_was_not(tmp_path, optimizer, after):
    split = toy_split(tmp_path)
    arguments = {"recipe": Recipe(**{**RECIPE, "optimizer": optimizer}), "padl": "MMp"}
    whole, log = train_toy(split, tmp_path, **arguments)
    folder = tmp_path / "resume"
    interrupted(split, tmp_path, folder, after, **arguments)
    # The step that was broken off had been taken, and a look at its loss, but no snapshot of it.
    assert (folder / "snapshot.safetensors").exists() == (after > 2)
    again, log_again = train_toy(split, tmp_path, snapshots=Snapshots(folder, SETTINGS, 0), **arguments)
    assert torch.equal(weights(whole), weights(again))
    assert log == log_again


def test_a_run_may_be_broken_off_again_and_again(tmp_path):
    split = toy_split(tmp_path)
    whole, log = train_toy(split, tmp_path, padl="MpM", workers=2)
    for after in (3, 5, 8, 11):
        interrupted(split, tmp_path, tmp_path / "resume", after, padl="MpM", workers=2)
    snapshots = Snapshots(tmp_path / "resume", SETTINGS, 0)
    again, log_again = train_toy(split, tmp_path, padl="MpM", workers=2, snapshots=snapshots)
    assert torch.equal(weights(whole), weights(again)) and log == log_again


@pytest.mark.parametrize(("every_seconds", "count"), [(3600, 1), (0, 9)])
def test_snapshots_are_taken_when_they_are_due_and_at_the_end(tmp_path, monkeypatch, every_seconds, count):
    split = toy_split(tmp_path)
    taken, save = [], Snapshots.save

    def note(self, position, *rest):
        taken.append((position.epoch, position.step))
        save(self, position, *rest)

    monkeypatch.setattr(Snapshots, "save", note)
    whole, log = train_toy(split, tmp_path, snapshots=Snapshots(tmp_path / "resume", SETTINGS, every_seconds))
    assert len(taken) == count and taken[-1] == (3, 0)
    # Of a run that is over nothing is trained again.
    over = Snapshots(tmp_path / "resume", SETTINGS)
    again, log_again = train_toy(split, tmp_path, snapshots=over, progress=pytest.fail)
    assert torch.equal(weights(whole), weights(again)) and log == log_again


def test_a_snapshot_under_other_settings_is_refused_with_what_differs(tmp_path):
    split = toy_split(tmp_path)
    interrupted(split, tmp_path, tmp_path / "resume", 5)
    other = Snapshots(tmp_path / "resume", {"recipe": {"lr": 1e-3}, "seed": 0, "padl": "MMp"}, 0)
    expected = (
        r"is of a run with other settings: padl was not there and is 'MMp'; recipe\.lr was 0\.003 and is 0\.001; "
        "restore them to go on with it, or remove the file to start anew"
    )
    with pytest.raises(SnapshotError, match=expected):
        train_toy(split, tmp_path, snapshots=other)


def test_settings_are_compared_value_by_value():
    assert list(differing({"a": [1, 2], "b": {"c": 1}}, {"a": [1, 2], "b": {"c": 1}})) == []
    assert list(differing({"a": {"b": 1}}, {"a": None})) == ["a was {'b': 1} and is None"]
    assert list(differing({"a": None}, {})) == ["a was None and is not there"]
    names = [f"class {number}" for number in range(99)]
    (line,) = differing({"classes": names}, {"classes": [*names[:-1], "other"]})
    assert line.startswith("classes was ...") and line.endswith("'other']") and len(line) < 120


def damage(path: Path, how: str) -> None:
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "no snapshot":
        save_file({"a": torch.zeros(1)}, path)
    else:
        tensors, header = load_file(path), read_header(path)
        del tensors["model.norm.weight"]
        save_file(tensors, path, metadata={"vitol-snapshot": json.dumps(header)})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "is no snapshot .*; remove it to start anew"),
        ("no snapshot", "is no snapshot .*; remove it to start anew"),
        ("a tensor missing", "does not fit this run .*norm.weight.*; remove it to start anew"),
    ],
)
def test_a_damaged_snapshot_is_named_and_not_used(tmp_path, how, message):
    split = toy_split(tmp_path)
    interrupted(split, tmp_path, tmp_path / "resume", 5)
    damage(tmp_path / "resume/snapshot.safetensors", how)
    with pytest.raises(SnapshotError, match=message):
        train_toy(split, tmp_path, snapshots=Snapshots(tmp_path / "resume", SETTINGS, 0))


def test_a_disk_that_is_full_leaves_the_snapshot_before_it(tmp_path):
    split = toy_split(tmp_path)
    whole, _ = train_toy(split, tmp_path)
    interrupted(split, tmp_path, tmp_path / "resume", 5)
    before = (tmp_path / "resume/snapshot.safetensors").read_bytes()
    expected = "could not be written .* the snapshot before it is intact"
    with full_disk(5000), pytest.raises(SnapshotError, match=expected):
        train_toy(split, tmp_path, snapshots=Snapshots(tmp_path / "resume", SETTINGS, 0))
    assert [path.name for path in (tmp_path / "resume").iterdir()] == ["snapshot.safetensors"]
    assert (tmp_path / "resume/snapshot.safetensors").read_bytes() == before
    again, _ = train_toy(split, tmp_path, snapshots=Snapshots(tmp_path / "resume", SETTINGS, 0))
    assert torch.equal(weights(whole), weights(again))


def test_a_state_that_has_no_place_in_a_snapshot_is_refused(tmp_path):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.state[model.weight]["odd"] = object()
    snapshots = Snapshots(tmp_path / "resume", SETTINGS, 0)
    with pytest.raises(SnapshotError, match="SGD keeps a state that is neither tensors nor plain values"):
        snapshots.save(training.Position(), model, optimizer, torch.get_rng_state(), torch.device("cpu"))
    assert not (tmp_path / "resume").exists()


KILLED = """
import sys
from pathlib import Path
from toy import RECIPE, toy_split, train_toy
from vitol import training
from vitol.recipe import Recipe
from vitol.snapshots import Snapshots
from safetensors.torch import save_file

training.LOOK_EVERY = 1
root = Path(sys.argv[1])
recipe = Recipe(**{**RECIPE, "epochs": 40, "decay_every": 20})
snapshots = Snapshots(root / "resume", {}, 0)
model, _ = train_toy(toy_split(root, write=False), root, recipe=recipe, padl="MMp", snapshots=snapshots)
save_file(model.state_dict(), root / "killed.safetensors")
"""


def test_killed_at_any_moment_it_goes_on_to_bit_identical_weights(tmp_path):
    split = toy_split(tmp_path)
    recipe = Recipe(**{**RECIPE, "epochs": 40, "decay_every": 20})
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    snapshot = tmp_path / "resume/snapshot.safetensors"
    positions = []
    for kill in range(3):
        child = subprocess.Popen(command, env=environment)
        seen = snapshot.stat().st_mtime_ns if snapshot.exists() else 0
        while child.poll() is None and not (snapshot.exists() and snapshot.stat().st_mtime_ns > seen):
            time.sleep(0.01)
        time.sleep((0.05, 0.23, 0.11)[kill])
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, "it ended before it was killed"
        position = read_header(snapshot)["position"]
        positions.append(position["epoch"] * 4 + position["step"])
    assert positions == sorted(set(positions)) and positions[-1] < 160
    subprocess.run(command, env=environment, check=True)
    whole, _ = train_toy(split, tmp_path, recipe=recipe, padl="MMp")
    ended = load_file(tmp_path / "killed.safetensors")
    assert all(torch.equal(tensor, ended[name]) for name, tensor in whole.state_dict().items())


def test_the_records_of_a_snapshot_are_plain_values(tmp_path):
    split = toy_split(tmp_path)
    interrupted(split, tmp_path, tmp_path / "resume", 11)
    header = read_header(tmp_path / "resume/snapshot.safetensors")
    _, log = train_toy(split, tmp_path)
    assert header["position"]["log"] == [asdict(record) for record in log[:2]]
    assert (header["position"]["epoch"], header["position"]["step"]) == (2, 2)
