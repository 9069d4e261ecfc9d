"""The `vitol` command in a process of its own, interrupted as by Ctrl-C once a bar has come so far."""

import os
import subprocess
import sys
from collections.abc import Sequence

from conftest import ROOT

# A suite that runs in the background has SIGINT ignored, and its children with it.
LISTENING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
CODE = f"""{LISTENING}
import os, sys
from rich.progress import Progress
from vitol.cli import app

after, update, seen = int(sys.argv.pop(1)), Progress.update, []

def interrupting(progress, task, **fields):
    update(progress, task, **fields)
    seen.append(task)
    if len(seen) == after:
        os.kill(os.getpid(), signal.SIGINT)

Progress.update = interrupting
app(prog_name="vitol")
"""


def interrupted(arguments: Sequence[object], after: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run a command, and send it SIGINT when it has told of its progress so many times; 0 lets it run to its end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    command = [sys.executable, "-c", CODE, str(after), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
