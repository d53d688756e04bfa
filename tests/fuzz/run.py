"""Coverage-guided fuzzing of each target of targets.py and seal_targets.py with atheris.

python tests/fuzz/run.py --seconds 60 [--target pickle] [--seals] [--into build/fuzz]

It starts from the committed seeds, and for readers of seals from the vectors.

Each target runs in a process of its own; what it finds is kept below `--into`, reproducers as crash-*. The exit
code is 1 when any target failed. Needs the package atheris.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def one(name: str) -> None:
    """Fuzz one target in this process; the arguments left are libFuzzer's."""
    import atheris

    with atheris.instrument_imports(include=["modelward"]):
        import seal_targets
        import targets

    target = {**targets.TARGETS, **seal_targets.SEALS}[name]

    def harness(data: bytes) -> None:
        with contextlib.suppress(*(() if name in seal_targets.SEALS else targets.ALLOWED)):
            target(data)

    atheris.Setup(sys.argv, harness)
    atheris.Fuzz()


def planted(name: str, into: Path) -> Path | None:
    """A folder with the seeds of a reader of seals, which are made from the vectors; null for all others."""
    import seal_seeds

    folder = into / name / "seeds"
    for place, data in enumerate(seal_seeds.seeds().get(name, ())):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(place)).write_bytes(data)
    return folder if folder.exists() else None


def every(names: list[str], seconds: int, into: Path) -> int:
    failed = []
    for name in names:
        corpus, found = into / name / "corpus", into / name
        corpus.mkdir(parents=True, exist_ok=True)
        seeds = planted(name, into) or HERE / "seeds"
        command = [sys.executable, str(HERE / "run.py"), "--inside", name, str(corpus), str(seeds)]
        command += [
            f"-max_total_time={seconds}",
            f"-artifact_prefix={found}/",
            "-timeout=20",
            "-rss_limit_mb=4096",
            "-max_len=8192",
            "-print_final_stats=1",
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
        executed = last(r"number_of_executed_units: +(\d+)", done.stderr)
        covered = last(r" cov: (\d+)", done.stderr)
        print(
            f"{name:<28}{'FAILED' if done.returncode else 'ok'}, {executed:,} executions, {covered} branches",
            flush=True,
        )
        if done.returncode:
            failed.append(name)
            print("\n".join(done.stderr.splitlines()[-25:]), flush=True)
    return 1 if failed else 0


def last(pattern: str, said: str) -> int:
    """The last of the numbers that libFuzzer said; 0 where it said none."""
    return int((re.findall(pattern, said) or ["0"])[-1])


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
    parser.add_argument("--seals", action="store_true", help="readers of seals alone")
    parser.add_argument("--into", type=Path, default=ROOT / "build" / "fuzz")
    chosen = parser.parse_args()
    import seal_targets
    import targets

    known = [*targets.TARGETS, *seal_targets.SEALS]
    unknown = set(chosen.target or ()) - set(known)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    named = chosen.target or [name for name in known if not chosen.seals or name in seal_targets.SEALS]
    sys.exit(every(named, chosen.seconds, chosen.into))


if __name__ == "__main__":
    main()
