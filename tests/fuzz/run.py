"""Coverage-guided fuzzing of each target of targets.py with atheris, starting from the committed seeds.

python tests/fuzz/run.py --seconds 60 [--target pickle] [--into build/fuzz]

Each target runs in a process of its own; what it finds is kept below `--into`, reproducers as crash-*. The exit
code is 1 when any target failed. Needs the package atheris.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def one(name: str) -> None:
    """Fuzz one target in this process; the arguments left are libFuzzer's."""
    import atheris

    with atheris.instrument_imports(include=["modelward"]):
        import targets

    target = targets.TARGETS[name]

    def harness(data: bytes) -> None:
        with contextlib.suppress(*targets.ALLOWED):
            target(data)

    atheris.Setup(sys.argv, harness)
    atheris.Fuzz()


def every(names: list[str], seconds: int, into: Path) -> int:
    failed = []
    for name in names:
        corpus, found = into / name / "corpus", into / name
        corpus.mkdir(parents=True, exist_ok=True)
        seeds = HERE / "seeds"
        command = [sys.executable, str(HERE / "run.py"), "--inside", name, str(corpus), str(seeds)]
        command += [
            f"-max_total_time={seconds}",
            f"-artifact_prefix={found}/",
            "-timeout=20",
            "-rss_limit_mb=4096",
            "-max_len=8192",
            "-verbosity=0",
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
        print(f"{name:<28}{'ok' if not done.returncode else 'FAILED'}", flush=True)
        if done.returncode:
            failed.append(name)
            print("\n".join(done.stderr.splitlines()[-25:]), flush=True)
    return 1 if failed else 0


def main() -> None:
    sys.path[:0] = [str(HERE), str(ROOT / "src")]
    if sys.argv[1:2] == ["--inside"]:
        name = sys.argv[2]
        del sys.argv[1:3]
        one(name)
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", action="append")
    parser.add_argument("--into", type=Path, default=ROOT / "build" / "fuzz")
    chosen = parser.parse_args()
    import targets

    unknown = set(chosen.target or ()) - set(targets.TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(targets.TARGETS)}")
    sys.exit(every(chosen.target or list(targets.TARGETS), chosen.seconds, chosen.into))


if __name__ == "__main__":
    main()
