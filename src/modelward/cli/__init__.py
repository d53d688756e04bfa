"""The command line: parse, call, show; nothing else."""

from modelward.cli.main import main

__all__ = ["main"]
