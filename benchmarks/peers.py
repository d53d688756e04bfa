"""Peers in environments of their own, so that their pins never meet ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "build" / "peers"


def peer(*requirements: str) -> Path:
    """The Python of an environment that holds exactly these packages; made once, kept under build/."""
    folder = ROOT / "+".join(sorted(requirements)).replace("==", "-")
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        print(f"installing {', '.join(requirements)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *requirements], check=True)
        done.touch()
    return python
