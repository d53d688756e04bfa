# ruff: noqa: E402, E501 - the module beside this script is found by the path set above it; tables of commands
"""Recall, false alarms, CPU and memory of `modelward scan` beside picklescan, modelscan, fickling and modelaudit.

python benchmarks/scan.py [--only modelward] [--corpus third] [--built FOLDER] [--list-misses] [--seed 0] [--limit 60]

Builds both corpora below build/scan, installs each peer in an environment of its own and runs its command on each
artifact as a pipeline would. Flagged = the exit code that fails a pipeline for a finding; errors = any other
failure, crash or time-out, counted apart. Of modelward recall counts verdicts (dangerous or unproven), false alarms
exit codes: the stricter of the two each time. Imports are paid once per scanner: CPU is what the artifact itself
costs, the whole command is one more figure. MW_SRC=FOLDER measures the modelward of another source tree.
`--corpus fresh` and `--corpus third` take the corpora of the scripts of that name instead, each written by somebody who
had seen no rule and measured once; `--built FOLDER` takes what they wrote there before (FOLDER/malicious, FOLDER/benign).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import peers

ROOT = Path(__file__).resolve().parents[1]
CORPUS, BUILD = ROOT / "benchmarks" / "corpus", ROOT / "build" / "scan"
EXTRAS = "dill,flax,h5,joblib,mlflow,onnx,pytorch,safetensors,sevenzip,tflite"
PREFIXES = {"standard": "", "fresh": "fresh_", "third": "third_"}
ORDER = ("dangerous", "unproven", "error", "inert", None)
QUIET = {
    "PYTHONPATH": os.environ.get("MW_SRC", str(ROOT / "src")),
    "PROMPTFOO_DISABLE_TELEMETRY": "1",
    "NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_NUM_THREADS": "1",
    "CI": "1",
}


class Scanner(NamedTuple):
    """A scanner: what to install, its entry point and its arguments, and the exit code that means a finding."""

    name: str
    requires: tuple[str, ...]
    entry: str
    arguments: tuple[str, ...]


# modelaudit's `xgboost` extra names the build with CUDA; the same library without it is installed beside.
SCANNERS = (
    Scanner("modelward", (), "modelward.cli:main", ("scan", "--format", "json", "{}")),
    Scanner("picklescan 1.0.5", ("picklescan[7z]==1.0.5", "numpy"), "picklescan.cli:main", ("-p", "{}")),
    Scanner("picklescan --strict", ("picklescan[7z]==1.0.5", "numpy"), "picklescan.cli:main", ("--strict", "-p", "{}")),
    Scanner("modelscan 0.8.8", ("modelscan[tensorflow,h5py]==0.8.8",), "modelscan.cli:main", ("-p", "{}")),
    Scanner("fickling 0.1.12", ("fickling==0.1.12", "typing_extensions"), "fickling.__main__:main", ("--check-safety", "{}")),
    Scanner("modelaudit 0.2.54", (f"modelaudit[{EXTRAS}]==0.2.54", "py-ubjson", "torch==2.13.0", "xgboost-cpu==3.2.0"), "modelaudit.__main__:_run", ("scan", "--no-cache", "{}")),
)  # fmt: skip


class Result(NamedTuple):
    """What one scanner said of one artifact."""

    flagged: bool
    unclean: bool
    failed: bool
    dangerous: bool
    hung: bool
    cpu: float
    mib: float
    said: str


def corpora(
    seed: int, corpus: str = "standard", built: Path | None = None
) -> dict[str, list[dict[str, str]]]:
    """Both manifests; a corpus is built once per seed and state of its scripts, and kept."""
    if built is not None:
        return {name: manifest(built / name) for name in ("malicious", "benign")}
    made, digest, prefix = {}, hashlib.sha256(), PREFIXES[corpus]
    others = tuple(word for word in PREFIXES.values() if word != prefix and word)
    scripts = [s for s in CORPUS.glob(f"{prefix}*.py") if not s.stem.startswith(others)]
    for script in sorted([*scripts, *(ROOT / "tests" / "vectors").glob("*.py")]):
        digest.update(script.read_bytes() if script.stem != "worker" else b"")
    for name in ("malicious", "benign"):
        folder = BUILD / f"{prefix}{name}-{seed}-{digest.hexdigest()[:8]}"
        if not (folder / "manifest.json").exists():
            print(f"building the {prefix}{name} corpus", flush=True)
            folder.mkdir(parents=True, exist_ok=True)
            command = [
                sys.executable,
                "-W",
                "ignore",
                str(CORPUS / f"{prefix}{name}.py"),
                str(folder),
                "--seed",
                str(seed),
            ]
            subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        made[name] = manifest(folder)
    return made


def manifest(folder: Path) -> list[dict[str, str]]:
    items = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return [{**item, "path": str(folder / item["path"])} for item in items]


def python_of(scanner: Scanner) -> str:
    return str(peers.peer(*scanner.requires)) if scanner.requires else sys.executable


def run(scanner: Scanner, paths: list[str], limit: float) -> list[Result]:
    command = [python_of(scanner), str(CORPUS / "worker.py"), scanner.entry, str(limit), *scanner.arguments]
    done = subprocess.run(
        command,
        input="\n".join(paths) + "\n",
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **QUIET},
        cwd=BUILD,  # fickling leaves a file where it runs
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"path"')]
    return [result(scanner, json.loads(line)) for line in lines]


def result(scanner: Scanner, record: dict[str, object]) -> Result:
    code = record["code"]
    verdict, said = None, ""
    if not scanner.requires:
        verdict, said = modelward_verdict(str(record["out"]))
    flagged = code == 1
    unclean = flagged if scanner.requires else verdict in {"dangerous", "unproven"}
    # modelscan ends with 3 where it supports no file, and prints no finding
    failed = not flagged and code not in {0, 3 if scanner.name.startswith("modelscan") else 0}
    return Result(
        flagged,
        unclean,
        failed,
        verdict == "dangerous",
        code is None,
        float(record["cpu"]),
        float(record["mib"]),
        said,
    )


def modelward_verdict(out: str) -> tuple[str | None, str]:
    """The worst verdict of the artifacts of one path, and the first message behind it."""
    try:
        artifacts = json.loads(out)["artifacts"]
    except (ValueError, KeyError):
        return "none", "no document was printed"
    worst = min(artifacts, key=lambda item: ORDER.index(item["verdict"]), default=None)
    if worst is None:
        return "none", "no artifact was listed"
    messages = [finding["message"] for finding in worst["findings"]]
    return worst["verdict"], f"{worst['format']}: {'; '.join(messages[:2]) or 'no finding'}"


def startup(scanner: Scanner, path: str) -> float:
    """CPU seconds of the whole command on one small file, imports included."""
    script = "import sys, importlib; sys.argv = [{!r}, *{!r}]; importlib.import_module({!r}).{}()"
    module, name = scanner.entry.split(":")
    words = [path if word == "{}" else word for word in scanner.arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [python_of(scanner), "-c", script.format(module, words, module, name)],
        check=False,
        capture_output=True,
        env={**os.environ, **QUIET},
        cwd=BUILD,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def wilson(hits: int, n: int) -> str:
    """A share with its 95 % interval (Wilson 1927)."""
    if not n:
        return "-"
    z, p = 1.959964, hits / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    return f"{hits}/{n} = {100 * p:.1f} % [{100 * max(low, 0.0):.1f}, {100 * high:.1f}]"


def report(
    scanner: Scanner, items: dict[str, list[dict[str, str]]], results: dict[str, list[Result]], cold: float
) -> None:
    bad, good = results["malicious"], results["benign"]
    pairs = list(zip(items["malicious"], bad, strict=True))
    held = [r for item, r in pairs if item["set"] == "held-out"]
    known = [r for item, r in pairs if item["set"] == "known"]
    fresh = {f: [r for item, r in pairs if item.get("family") == f] for f in ("pickle", "other")}
    must = [r for item, r in pairs if item["expect"] == "dangerous"]
    family = [r for item, r in zip(items["benign"], good, strict=True) if item["family"] == "pickle"]

    def share(group: list[Result], field: str = "unclean") -> str:
        return wilson(sum(getattr(r, field) for r in group), len(group))

    print(f"\n## {scanner.name}")
    print(f"flagged, malicious        {share(bad)}   errors {sum(r.failed for r in bad)}")
    for family_name, group in fresh.items():
        if group:
            print(f"  {family_name:<23} {share(group)}")
    if not any(fresh.values()):
        print(f"  known                   {share(known)}")
        print(f"  held-out                {share(held)}")
    if not scanner.requires:
        print(f"dangerous, of what must   {share(must, 'dangerous')}")
        print(f"dangerous, benign         {share(good, 'dangerous')}")
        if any(fresh.values()):
            print(f"not clean, benign         {share(good)}")
            print(f"  pickle family           {share(family)}")
    print(f"flagged, benign           {share(good, 'flagged')}   errors {sum(r.failed for r in good)}")
    print(f"  pickle family           {share(family, 'flagged')}   errors {sum(r.failed for r in family)}")
    everything = bad + good
    cpus = sorted(r.cpu for r in everything)
    print(f"time-outs {sum(r.hung for r in everything)}; CPU per artifact median {1000 * cpus[len(cpus) // 2]:.0f} ms, total {sum(cpus):.0f} s; "
          f"whole command {1000 * cold:.0f} ms; peak memory {max(r.mib for r in everything):.0f} MiB", flush=True)  # fmt: skip


def misses(items: dict[str, list[dict[str, str]]], results: dict[str, list[Result]]) -> None:
    """Each artifact that modelward judged otherwise than the corpus asks."""
    groups: dict[str, list[str]] = {"missed": [], "not dangerous": [], "false alarm": [], "failed": []}
    for item, r in zip(items["malicious"], results["malicious"], strict=True):
        line = f"{item['set']} | {item['label']} | {item['name']} | {item['path']} | {r.said}"
        if (r.failed or r.hung) and not r.unclean:
            groups["failed"].append(line)
        elif not r.unclean:
            groups["missed"].append(line)
        elif item["expect"] == "dangerous" and not r.dangerous:
            groups["not dangerous"].append(line)
    for item, r in zip(items["benign"], results["benign"], strict=True):
        line = f"{item['family']} | {item['name']} | {item['path']} | {'dangerous' if r.dangerous else 'unproven'} | {r.said}"
        if r.flagged:
            groups["false alarm"].append(line)
        elif r.failed or r.hung:
            groups["failed"].append("benign | " + line)
        elif r.unclean and "family" in items["malicious"][0]:
            groups.setdefault("benign, not clean, exit code of success", []).append(line)
    for name, lines in groups.items():
        print(f"\n# {name}: {len(lines)}")
        print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", help="names that begin so")
    parser.add_argument(
        "--list-misses", action="store_true", help="each artifact that modelward judged otherwise"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", choices=tuple(PREFIXES), default="standard")
    parser.add_argument("--built", type=Path, help="folder that holds both corpora already")
    parser.add_argument("--every", type=int, default=1, help="one artifact in so many, for slow scanners")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds per artifact")
    chosen = parser.parse_args()
    whole = corpora(chosen.seed, chosen.corpus, chosen.built)
    items = {name: group[:: chosen.every] for name, group in whole.items()}
    counts = Counter(item["set"] for item in items["malicious"])
    sets = ", ".join(
        f"{counts[name]} {name}" for name in ("known", "held-out", "fresh", "third") if counts[name]
    )
    print(f"{len(items['malicious'])} malicious ({sets}), {len(items['benign'])} benign")
    for scanner in SCANNERS:
        if chosen.only and not any(scanner.name.startswith(word) for word in chosen.only):
            continue
        results = {
            name: run(scanner, [item["path"] for item in group], chosen.limit)
            for name, group in items.items()
        }
        report(scanner, items, results, startup(scanner, items["benign"][0]["path"]))
        if chosen.list_misses and not scanner.requires:
            misses(items, results)


if __name__ == "__main__":
    main()
