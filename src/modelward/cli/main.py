"""The root command: verbs are imported when they are used, errors become one sentence and an exit code."""

from __future__ import annotations

import importlib
import os
import shlex
import signal
import sys
from typing import TYPE_CHECKING, cast, final

import click

from modelward.errors import ModelwardError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Verb to module and one line of help; the help is here so that `--help` imports none of them.
_VERBS = {
    "audit": ("modelward.cli.audit", "Run the checks on a model and data; write report and evidence."),
    "harden": ("modelward.cli.harden", "Train a model to withstand more; show before and after."),
    "init": ("modelward.cli.init", "Write a commented modelward.toml for the files that are here."),
    "report": ("modelward.cli.report", "Render a stored result again; verify the store."),
    "bom": ("modelward.cli.bom", "List what a model consists of: CycloneDX or SPDX."),
    "seal": ("modelward.cli.seal", "Sign, encrypt and attest a model or a data set."),
    "verify": ("modelward.cli.verify", "Say who sealed it, whether it is that, and whether it is admitted."),
    "amend": ("modelward.cli.amend", "Add signatures, attestations or recipients to a seal."),
    "open": ("modelward.cli.open", "Decrypt what was sealed, as one of its recipients."),
    "keys": ("modelward.cli.keys", "Make, show, rotate and revoke keys."),
    "ledger": ("modelward.cli.ledger", "Export, prove, verify and witness the evidence store."),
    "scan": ("modelward.cli.scan", "Say what loading a file can do, without loading it."),
}

_EPILOG = """\b
Examples:
  modelward scan downloads/
  modelward audit model.onnx --data test.npz
  modelward seal model.onnx -o model.sealed --key release.pem --evidence .modelward
  modelward verify model.sealed --public-key release.pem.pub
"""


@final
class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs."""
        del ctx
        return sorted(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        del ctx
        if cmd_name not in _VERBS:
            return None
        module = importlib.import_module(_VERBS[cmd_name][0])
        return cast("click.Command", module.command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List verbs from the static table."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_VERBS.items())])


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001  (click's signature)
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"modelward {version('modelward')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
def root() -> None:
    """Is this model safe? Claims with a bracket, evidence, and a policy that is enforced.

    Exit codes: 0 policy satisfied; 1 policy refused or unknown, or findings at or above the threshold;
    2 the job could not be done, with one sentence on standard error.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    # Threads that spin while they wait made a small network's audit three times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if arguments is None:
        _own_process()
    try:
        words = sys.argv[1:] if arguments is None else list(arguments)
        said = shlex.join(["modelward", *words])  # what a report names as the command that repeats it
        try:
            code = root.main(args=words, prog_name="modelward", standalone_mode=False, obj=said)
        except SystemExit as ended:  # code that the user named ran here; that it ended well is no pass
            if ended.code not in {None, 0}:
                raise
            _say("code that was named to build the model ended the program, so nothing was judged")
            code = 2
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except ModelwardError as error:
        _say(str(error), error.advice)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted before there was anything to report")
        sys.exit(1)
    except BrokenPipeError:  # the reader (a pager, head) has seen enough
        _drop_unsaid()
        sys.exit(1)
    except OSError as error:
        _say(f"{error.filename or 'the system'}: {error.strerror}")
        _drop_unsaid()
        sys.exit(2)
    except MemoryError:
        _say("there is not enough memory for that")
        sys.exit(2)
    except Exception:  # noqa: BLE001 -- a fault of ours is shown whole, and is not the 1 of a refusing policy
        import traceback

        traceback.print_exc()
        _say("a fault of modelward itself, so nothing was judged", "Please report it with the lines above.")
        sys.exit(2)


def _own_process() -> None:
    """Where this is the whole process: three open streams, and an end that cleans up like Control-C."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed by who started it; the next file opened would take its number
            handle = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(handle, "w" if number else "r", closefd=False))
    for asked in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(asked) == signal.SIG_DFL:  # not under nohup
            signal.signal(asked, signal.default_int_handler)


def _drop_unsaid() -> None:
    """What cannot be written is dropped, so that Python does not complain while it flushes at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(sentence: str, advice: str | None = None) -> None:
    from modelward.reporting.text import clean  # what a file calls itself must not steer the terminal

    try:
        click.echo(f"modelward: {clean(sentence)}" + (f"\n  {clean(advice)}" if advice else ""), err=True)
    except OSError:  # nobody is there to hear it; the exit code says it too
        _drop_unsaid()
