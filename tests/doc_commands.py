"""Commands of the documentation: run where that takes a moment, else checked to be sound without doing the work."""

from __future__ import annotations

import argparse
import importlib.util
import os
import runpy
import shlex
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from conftest import ROOT
from typer.main import get_command
from typer.testing import CliRunner

from vitol.cli import app

NETWORK = (("data", "fetch"),)  # of vitol: these would download


class Parsed(Exception):
    """Arguments were parsed."""


def run_vitol(words: list[str]) -> None:
    """Run a `vitol` command here; AssertionError with what it printed if it fails."""
    result = CliRunner().invoke(app, [os.path.expanduser(word) for word in words])  # noqa: PTH111
    assert result.exit_code == 0, f"vitol {shlex.join(words)}\n{result.output}\n{result.exception!r}"


def parse_vitol(words: list[str]) -> None:
    """Let `vitol` parse a command and not run it; click's error says what is wrong."""
    command: Any = get_command(app)
    context, name, rest = None, "vitol", list(words)
    while hasattr(command, "commands"):
        context = command.make_context(name, rest, parent=context)
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, rest, parent=context)


def known_to_vitol(words: list[str]) -> None:
    """Check that a command of `vitol` exists and has the options that are named, whatever else it needs."""
    command: Any = get_command(app)
    for word in words:
        if hasattr(command, "commands") and not word.startswith("-"):
            assert word in command.commands, f"vitol has no command {word!r}: {shlex.join(words)}"
            command = command.commands[word]
        elif word.startswith("--"):
            options = {option for parameter in command.params for option in parameter.opts}
            assert word in options | {"--help"}, f"no option {word}: vitol {shlex.join(words)}"


def parse_module(words: list[str]) -> None:
    """Let `python -m experiments.MODULE ...` parse its arguments and not go on."""
    module, *arguments = words
    assert module.startswith("experiments."), f"python -m {shlex.join(words)} is not of this project"
    found = importlib.util.find_spec(module)
    assert found and found.origin, f"there is no module {module}"
    source = Path(found.origin).read_text(encoding="utf-8")
    if "ArgumentParser(" not in source:
        assert not arguments, f"{module} takes no arguments, not {arguments}"
        assert '__name__ == "__main__"' in source, f"{module} is no command"
        return
    parse_args = argparse.ArgumentParser.parse_args

    def parse_alone(parser: argparse.ArgumentParser, *args: object) -> None:
        raise Parsed(parse_args(parser, *args))

    try:
        with (
            patch.object(argparse.ArgumentParser, "parse_args", parse_alone),
            patch.object(sys, "argv", [module, *arguments]),
            chdir(ROOT),
        ):
            runpy.run_path(found.origin, run_name="__main__")
    except Parsed:
        return
    except SystemExit as error:
        raise AssertionError(f"python -m {shlex.join(words)}: wrong arguments") from error
    raise AssertionError(f"python -m {shlex.join(words)} did not ask for its arguments")


def check_make(words: list[str], params: Path = ROOT / "params.yaml", recipe: bool = True) -> None:
    """Check that make knows the targets, params.yaml the data set and backbone, and what the recipe would run."""
    known = yaml.safe_load(params.read_text(encoding="utf-8"))
    for word in words:
        name, is_variable, value = word.partition("=")
        if is_variable and name in ("DATASET", "BACKBONE"):
            assert value in known[f"{name.lower()}s"], f"params.yaml has no {name.lower()} {value}"
    done = subprocess.run(["make", "-C", ROOT, "-n", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"make {shlex.join(words)}\n{done.stderr}"
    for line in done.stdout.splitlines() if recipe else ():
        if line.startswith(("python -m experiments.", "dvc ")):
            check(line)


def check_dvc(words: list[str]) -> None:
    """Check a dvc command by dvc's own parser, and that what it is to make are stages or files."""
    from dvc.cli.parser import get_main_parser

    try:
        given = get_main_parser().parse_args(words)
    except Exception as error:
        raise AssertionError(f"dvc {shlex.join(words)}: {error}") from error
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for target in getattr(given, "targets", None) or []:
        assert target in stages or (ROOT / target).is_file(), f"dvc has no stage {target!r}"


def check(line: str) -> None:
    """Check that a command is sound without running it; AssertionError or click's error if it is not."""
    program, *words = shlex.split(line, comments=True)
    if program == "vitol":
        parse_vitol(words)
    elif program == "make":
        check_make(words)
    elif program == "dvc":
        check_dvc(words)
    elif (program, *words[:1]) == ("python", "-m"):
        parse_module(words[1:])
    elif program == "source":
        assert words == [".venv/bin/activate"], f"{line}: `make env` makes .venv"
    else:
        raise AssertionError(
            f"{line!r}: nothing is known of {program!r}; teach tests/doc_commands.py to check it"
        )


def run(line: str) -> None:
    """Run a command where that takes a moment, else check it."""
    program, *words = shlex.split(line, comments=True)
    if program == "vitol" and tuple(words[:2]) not in NETWORK:
        run_vitol(words)
    else:
        check(line)
