"""What interrupted work is known by, and who may go on with it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from experiments import resume
from experiments.resume import Resume, data_digest, resuming
from vitol.models import create_model
from vitol.resumption import weights_digest


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def said(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(resume.console, "print", lines.append)
    return lines


def test_equal_settings_lead_to_the_same_folder_and_others_to_another_with_a_word_about_the_first(
    monkeypatch,
):
    lines = said(monkeypatch)
    with pytest.raises(KeyboardInterrupt), resuming() as first:
        folder, plain = first.folder("work", {"lr": 1e-3, "size": (3, 4)})
        raise KeyboardInterrupt
    assert plain == {"lr": 1e-3, "size": [3, 4]} == json.loads((folder / "settings.json").read_text())
    with resuming() as second:
        assert second.folder("work", {"size": (3, 4), "lr": 1e-3})[0] == folder
        assert lines == []
        assert second.folder("work", {"lr": 1e-4, "size": (3, 4)})[0] != folder
    assert lines == [
        f"work starts anew: {folder} waits for other settings (lr was 0.001 and is 0.0001); "
        "remove it if they will not come back"
    ]
    assert not list(Path("results/resume").iterdir())


def test_settings_that_cannot_be_read_are_unknown_and_stop_nothing(monkeypatch):
    lines = said(monkeypatch)
    for name, text in (("work-0123456789ab", "{"), ("work-ba9876543210", None)):
        Path("results/resume", name).mkdir(parents=True)
        if text:
            Path("results/resume", name, "settings.json").write_text(text)
    with resuming() as work:
        work.folder("work", {})
    assert len(lines) == 2 and all("waits for other settings (unknown ones)" in line for line in lines)


def test_two_runs_cannot_be_at_the_same_work():
    one, two = Resume(), Resume()
    folder, _ = one.folder("work", {})
    with pytest.raises(ValueError, match=f"another run is at the same work .{folder} is locked"):
        two.folder("work", {})
    one.release()
    two.folder("work", {})


def test_the_digest_of_the_data_follows_names_and_contents():
    folder = Path("results/data/mini/train")
    folder.mkdir(parents=True)
    (folder / "image_ids.txt").write_text("a\nb\n")
    (folder / "class_labels.txt").write_text("a,0\nb,1\n")
    before = data_digest("mini")
    assert data_digest("mini") == before
    texts = [(folder / name).read_text() for name in ("image_ids.txt", "class_labels.txt")]
    for name, text in zip(("class_labels.txt", "image_ids.txt"), texts, strict=True):
        (folder / name).write_text(text)
    assert data_digest("mini") != before


def test_the_digest_of_weights_follows_every_tensor():
    model = create_model("vit_tiny_patch16_224", 2, options={"img_size": 16, "patch_size": 8, "depth": 1})
    before = weights_digest(model)
    model.head.bias.data[1] += 1e-6
    assert weights_digest(model) != before


def test_the_digest_of_the_code_is_of_the_modules_that_dvc_lists_for_the_stage():
    # Run as the stage is, so that its own module is called __main__; asked when it ends.
    wrapper = (
        "import atexit, sys\n"
        "def tell():\n"
        "    from experiments.resume import PROJECT\n"
        "    from vitol.resumption import module_files\n"
        "    print('\\n'.join(map(str, module_files(*PROJECT))), file=sys.stderr)\n"
        "atexit.register(tell)\n"
    )
    Path("sitecustomize.py").write_text(wrapper)
    environment = {**os.environ, "PYTHONPATH": f"{Path.cwd()}:{ROOT}"}
    command = [sys.executable, "-m", "experiments.finetune", "--help"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    found = {
        str(Path(line).relative_to(ROOT)) for line in ended.stderr.splitlines() if line.startswith(str(ROOT))
    }
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    listed = {path for path in stages["finetune"]["deps"] if path.endswith(".py")}
    assert found == listed


def test_a_killed_run_leaves_no_lock():
    code = (
        "import os, signal\n"
        "from experiments.resume import Resume\n"
        "Resume().folder('work', {})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    with resuming() as work:
        work.folder("work", {})
