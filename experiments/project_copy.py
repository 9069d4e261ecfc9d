"""A copy of the project in which DVC experiments run, so that they touch nothing of the project itself.

`dvc exp run` inside the project stashes what is not committed, resets the files, works on a detached HEAD, writes
params.yaml anew in its own layout and leaves the experiment's settings and results there, whether it ends well or not;
killed, it leaves the detached HEAD, too. With `--temp` it still stashes and resets, and what stages leave for later,
their snapshots and their records, goes with its folder. The copy has the project's commit, its uncommitted changes and
its DVC cache: a stage that ran before with the same inputs costs nothing, and what breaks off breaks off in the copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from experiments.sections import is_registered
from experiments.stage import RESULTS
from vitol.datasets.registered import dataset_root, root_variable

# Where files that git does not know yet belong to the project; a data set that lies about elsewhere does not.
CODE = ("vitol", "experiments", "dvc.lock")
# Signs the copy's commits where git has no identity, without which DVC refuses uncommitted changes.
IDENTITY = {"user.name": "vitol", "user.email": "vitol@localhost"}


def lay_out(copy: Path, source: str) -> None:
    """Make the copy what the project is now: its commit, its uncommitted changes, its cache.

    Args:
        copy: The folder; of what an earlier run left there, its results stay, with the snapshots of interrupted stages.
        source: What the data set is made from, as in the grid of params.yaml.

    Raises:
        ValueError: If git or DVC refuses; the text says what it says.
    """
    copy.mkdir(parents=True, exist_ok=True)
    for left in copy.iterdir():
        if left.name != RESULTS.name:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    git("init", "--quiet", folder=copy)
    git("fetch", "--quiet", "--no-tags", "--update-shallow", str(Path.cwd()), "HEAD", folder=copy)
    git("checkout", "--quiet", "--force", "--detach", "FETCH_HEAD", folder=copy)
    for key, value in IDENTITY.items():
        git("config", key, git("config", "--default", value, "--get", key).strip(), folder=copy)
    changed = git("diff", "-z", "--name-only", "--no-renames", "HEAD")
    unknown = git("ls-files", "-z", "--others", "--exclude-standard", "--", *CODE)
    for name in filter(None, (changed + unknown).split("\0")):
        if Path(name).is_file():
            put(Path(name), copy)
        else:
            (copy / name).unlink(missing_ok=True)
    if is_registered(source):
        put(Path(source), copy)
    cache = dvc("cache", "dir", folder=Path.cwd()).strip()
    dvc("cache", "dir", "--local", cache, folder=copy)


def put(path: Path, copy: Path) -> None:
    """Bring a file of the project to its place in the copy."""
    (copy / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, copy / path, follow_symlinks=False)


def run_experiment(
    copy: Path, name: str, values: Mapping[str, str], target: str, roots: Mapping[str, str]
) -> None:
    """Run one DVC experiment in the copy, and hand it over to the project, where `dvc exp show` lists it.

    Args:
        copy: A copy that was laid out and has no experiment of this name yet.
        name: Of the experiment; one of that name in the project is replaced.
        values: New values of keys of params.yaml.
        target: The stage to get at.
        roots: Environment variables that say where registered images lie.

    Raises:
        ValueError: If a stage fails, or DVC leaves no experiment.
    """
    command = experiment_command(name, values, target)
    with subprocess.Popen(command, cwd=copy, env={**environment(), **roots}) as running:
        try:
            code = running.wait()
        except KeyboardInterrupt:
            running.wait()  # Ctrl-C went to DVC and its stage, too: they end in their own way
            raise
    if code:
        raise ValueError(
            f"{name}: `dvc exp run` ended with code {code}; its output stands above. Remove the cause and give "
            "the same command again: it goes on from here"
        )
    ref = git("for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}", folder=copy).strip()
    if not ref:
        raise ValueError(f"{name}: `dvc exp run` ended well, but left no experiment of this name in {copy}")
    git("fetch", "--quiet", "--no-tags", "--no-auto-gc", "--force", str(copy.resolve()), f"{ref}:{ref}")


def experiment_command(name: str, values: Mapping[str, str], target: str) -> list[str]:
    """The command line of an experiment, with the DVC of this Python."""
    settings = [part for key, value in values.items() for part in ("-S", f"{key}={value}")]
    return [sys.executable, "-m", "dvc", "exp", "run", "--name", name, *settings, target]


def image_roots(dataset: str, source: str) -> dict[str, str]:
    """The variable that says where a registered data set's images lie, so that it holds in any folder."""
    return {root_variable(dataset): str(dataset_root(dataset).resolve())} if is_registered(source) else {}


def environment() -> dict[str, str]:
    """The environment of DVC: stages run with the first `python` on PATH, which is to be this one."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path}


def git(*arguments: str, folder: Path = Path()) -> str:
    """What git prints."""
    return output(["git", *arguments], folder)


def dvc(*arguments: str, folder: Path) -> str:
    """What DVC prints."""
    return output([sys.executable, "-m", "dvc", *arguments], folder)


def output(command: list[str], folder: Path) -> str:
    """What a command prints.

    Raises:
        ValueError: If it fails.
    """
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode:
        name = " ".join(["dvc", *command[3:]] if command[0] == sys.executable else command)
        said = done.stderr.strip() or "nothing"
        raise ValueError(
            f"`{name}` failed with code {done.returncode} and said: {said}\nExperiments need a project in git, with "
            "one commit at least, in which DVC works; run from its root"
        )
    return done.stdout
