"""The source as syntax trees."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"


@pytest.fixture(scope="session")
def root():
    """The top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def trees():
    """Path below src -> syntax tree, for every source file."""
    return {
        path.relative_to(SRC).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(SRC.rglob("*.py"))
    }


@pytest.fixture(scope="session")
def python():
    """Run a line of Python in a fresh process in a folder; its standard output."""

    def python(source, folder=ROOT, **variables):
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SRC), **variables}
        done = subprocess.run(
            [sys.executable, "-c", source],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return python
