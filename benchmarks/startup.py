"""CPU time of short commands, beside bare Python and what cannot be avoided.

python benchmarks/startup.py [--repeat 7]
"""

from __future__ import annotations

import argparse
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def cpu(arguments: list[str]) -> float:
    """CPU milliseconds of one child."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=7)
    repeat = parser.parse_args().repeat
    call = "from modelward.cli import main; main({!r})"
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.pkl"
        small.write_bytes(pickle.dumps({"weights": [1.0, 2.0]}))
        commands = {
            "python": "pass",
            "import click, msgspec": "import click, msgspec",
            "import modelward": "import modelward",
            "modelward --help": call.format(["--help"]),
            "modelward audit --help": call.format(["audit", "--help"]),
            "modelward scan small.pkl": call.format(["scan", str(small)]),
        }
        print(f"{'CPU ms':<26}{'least':>8}{'median':>8}   ({repeat} runs)")
        for name, code in commands.items():
            runs = [cpu([sys.executable, "-c", code]) for _ in range(repeat)]
            print(f"{name:<26}{min(runs):8.0f}{statistics.median(runs):8.0f}")


if __name__ == "__main__":
    main()
