"""Train the example models, audit each, write the reports, seal two versions of one model, and verify both.

    python examples/demo.py --out build/demo

An audit whose policy is refused is a result, and the demo goes on; one that could not be done ends it with
exit code 2. Everything is seeded; a second run finds the checks of unchanged files in the ledger and repeats
none of them.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

import modelward
from modelward.cli.progress import observer
from modelward.reporting.html import IndexEntry, to_index_html
from modelward.reporting.verification import verification_text
from modelward.verbs.config import read_config
from modelward.verbs.exhibits import exhibits
from modelward.verbs.keys import new_key
from modelward.verbs.report import render, write_report
from modelward.verbs.talk import Talk

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
SEALED = ("cnn.onnx", "cnn-certified.safetensors")
FOLDERS = ("medical", "images", "fraud", "text", "recommender")
COLOURS = {"pass": "green", "fail": "red", "unknown": "yellow"}


@dataclass(frozen=True)
class Audit:
    """One audit: the name of its report, its configuration under the output folder, and a sentence."""

    name: str
    config: str
    about: str


AUDITS = (
    Audit("medical-forest", "medical/modelward.toml", "A scikit-learn forest tells tumours apart."),
    Audit("medical-xgboost", "medical/xgboost.toml", "Boosted trees answer the same question."),
    Audit("medical-network", "medical/mlp.toml", "A small torch network answers the same question."),
    Audit("medical-tampered", "medical/tampered.toml", "A model file that would run a command when loaded."),
    Audit("images-usual", "images/modelward.toml", "A convolutional network reads digits, as ONNX."),
    Audit("images-certified", "images/certified.toml", "The same network, trained to be provably robust."),
    Audit("fraud", "fraud/modelward.toml", "LightGBM finds fraud, with a gap planted between age groups."),
    Audit("text", "text/modelward.toml", "A filter tells spam by its words; five edits may fool it."),
    Audit("recommender", "recommender/modelward.toml", "Twelve invented users move what 400 are shown."),
)


def train(out: Path, console: Console) -> bool:
    """Run every ``train.py``, all at the same time.

    Returns:
        Whether all of them succeeded; what went wrong is on standard error.
    """
    start = time.monotonic()
    running = {
        folder: subprocess.Popen([sys.executable, HERE / folder / "train.py", "--out", out / folder])
        for folder in FOLDERS
    }
    waiting = list(FOLDERS)
    with console.status("") as status:
        while waiting:
            status.update(f"training {', '.join(waiting)}")
            time.sleep(0.05)
            for folder in [folder for folder in waiting if running[folder].poll() is not None]:
                waiting.remove(folder)
                console.print(f"trained {folder} ({time.monotonic() - start:.1f} s)", highlight=False)
    return all(process.returncode == 0 for process in running.values())


def run_audits(audits: Sequence[Audit], out: Path, console: Console) -> Path:
    """Audit, print each verdict, and write the reports.

    Args:
        audits: which.
        out: the folder that the models were trained into; reports go there too.
        console: where verdicts are shown.

    Returns:
        The page that lists all reports.

    Raises:
        ModelwardError: an audit could not be done.
    """
    entries = []
    for place, item in enumerate(audits, 1):
        console.rule(f"{place} of {len(audits)}: {item.name}", style="dim")
        plan = read_config(out / item.config)
        with observer() as watcher:
            result = modelward.audit(plan.model, plan.data, plan.options, observer=watcher)
        report = out / f"{item.name}.html"
        # The rows are public, so the reports may show them.
        write_report(report, render(result, "html", exhibits(result, plan.options.store, 3)))
        console.print(panel(result, item, report))
        entries.append(IndexEntry(name=item.name, href=report.name, result=result, about=item.about))
    index = out / "report.html"
    write_report(index, to_index_html(entries, title="The modelward demo").encode())
    return index


def seal_models(out: Path, console: Console) -> None:
    """Seal both networks that read digits with the evidence of their audits; one policy judges both.

    Args:
        out: the folder that the models were trained into.
        console: where the verdicts are shown.

    Raises:
        ModelwardError: a model could not be sealed.
    """
    folder, keys = out / "images", out / "keys"
    keys.mkdir(exist_ok=True)
    for old in keys.iterdir():
        old.unlink()
    phrase = secrets.token_bytes(16).hex().encode()
    release, reader = keys / "release.pem", keys / "reader.pem"
    new_key(release, "ed25519", lambda: phrase)
    new_key(reader, "mlkem768-x25519", lambda: phrase)
    policy = HERE / "images" / "release.toml"
    trust = modelward.TrustOptions(public_keys=(f"{release}.pub",))
    for model in SEALED:
        options = modelward.SealOptions(
            keys=(str(release),), recipients=(f"{reader}.pub",), evidence=folder / ".modelward", replace=True
        )
        target = out / f"{Path(model).stem}.sealed"
        modelward.seal(folder / model, target, options, Talk(passphrase=lambda: phrase))
        found = modelward.verify(target, modelward.VerifyOptions(trust=trust, policy=policy))
        console.rule(f"sealed: {model}", style="dim")
        print(verification_text(found, color=console.is_terminal), end="")


def panel(result: modelward.AuditResult, item: Audit, report: Path) -> Panel:
    """The verdict, the requirements that are not met, and the worst findings, in a few lines."""
    outcome = result.verdict.outcome
    unmet = [reason for reason in result.verdict.reasons if reason.status != "holds"]
    severe = [finding for finding in result.findings if finding.severity in {"medium", "high", "critical"}]
    lines = [
        Text(item.about),
        *(_line(reason.status, f"{reason.requirement}: {reason.detail}") for reason in unmet),
        *(_line(finding.severity, finding.title) for finding in severe),
        Text(str(report), style="dim"),
    ]
    title = f"[bold]{outcome.upper()}[/] [dim]policy: {result.verdict.policy}[/]"
    body = Text("\n").join(lines)
    return Panel(body, title=title, title_align="left", border_style=COLOURS[outcome])


def _line(head: str, text: str) -> Text:
    return Text.assemble((f"{head:<9}", "bold"), text)


def main(out: Path) -> int:
    """Run the demo.

    Returns:
        0, or 2 when a model could not be trained or an audit could not be done.
    """
    # Small models gain nothing from several threads, which only get into each other's way. This is read when
    # a library is first imported, here and in the trainings.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    console = Console()
    start = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    if not train(out, console):
        return 2
    trained = time.monotonic()
    try:
        index = run_audits(AUDITS, out, console)
        seal_models(out, console)
    except modelward.ModelwardError as error:
        sys.stderr.write(f"demo: {error}\n  {error.advice or ''}\n")
        return 2
    seconds = f"training {trained - start:.0f} s, {len(AUDITS)} audits {time.monotonic() - trained:.0f} s"
    console.print(f"{seconds}. All reports:", highlight=False)
    console.print(str(index.absolute()), highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the example models, audit each, write the reports.")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="Folder to write to.")
    sys.exit(main(parser.parse_args().out))
