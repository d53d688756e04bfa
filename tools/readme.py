"""Write what the program says about itself into README.md and docs/checks.md.

    python tools/readme.py            # or: make readme

A test compares both files with what this would write.
"""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from modelward.cli.main import root
from modelward.core.catalogue import CHECKS, CLAIMS

TOP = Path(__file__).parents[1]
BLOCK = re.compile(
    r"(?P<head><!-- help: (?P<words>[a-z ]*)-->\n)(?:(?!<!--).)*?(?P<tail><!-- end -->)", re.DOTALL
)
TABLE = re.compile(
    r"(?P<head><!-- table: (?P<name>[a-z]+) -->\n)(?:(?!<!--).)*?(?P<tail><!-- end -->)", re.DOTALL
)


def help_text(words: list[str]) -> str:
    """What `modelward ... --help` prints on a terminal of 100 columns."""
    done = CliRunner().invoke(root, [*words, "--help"], prog_name="modelward", terminal_width=100)
    return done.output.rstrip()


def with_help(text: str) -> str:
    """Every help block as the program prints it now."""

    def block(match: re.Match[str]) -> str:
        words = match["words"].split()
        command = " ".join(["modelward", *words, "--help"])
        return f"{match['head']}```console\n$ {command}\n{help_text(words)}\n```\n{match['tail']}"

    return BLOCK.sub(block, text)


def with_tables(text: str) -> str:
    """The tables of checks and claims as the catalogue has them now."""
    checks = ["| check | what it does | needs | answers |", "|---|---|---|---|"]
    for check in CHECKS:
        needs = ", ".join(check.needs) + (f"; extra `{check.extra}`" if check.extra else "")
        feeds = ", ".join(f"`{claim}`" for claim in check.feeds)
        checks.append(f"| `{check.id}` | {check.summary} | {needs} | {feeds} |")
    claims = ["| claim | what it says |", "|---|---|"]
    claims += [f"| `{claim.id}` | {claim.summary} |" for claim in CLAIMS]
    tables = {"checks": "\n".join(checks), "claims": "\n".join(claims)}
    return TABLE.sub(lambda match: match["head"] + tables[match["name"]] + "\n" + match["tail"], text)


def main() -> None:
    """Write both files."""
    for path, write in ((TOP / "README.md", with_help), (TOP / "docs" / "checks.md", with_tables)):
        before = path.read_text(encoding="utf-8")
        after = write(before)
        path.write_text(after, encoding="utf-8")
        print(f"{path.name}: {'unchanged' if after == before else 'written'}")


if __name__ == "__main__":
    main()
