"""Add the names of all operators that the installed PaddlePaddle registers to the list of its reader.

Run once in an environment of each release: `python tools/paddle_ops.py`. Names of earlier releases stay, since
old programs are read too. An operator that is not on the list needs a native library of somebody else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

OUT: Final = Path(__file__).parents[1] / "src/modelward/artifact/formats/paddle_ops.json"


def main() -> None:
    """Merge the registry of the installed release."""
    import paddle
    from paddle.base import core

    old = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {"paddle": [], "operators": []}
    versions = sorted({*old["paddle"], paddle.__version__})
    names = sorted({*old["operators"], *core.get_all_op_names()})
    OUT.write_text(json.dumps({"paddle": versions, "operators": names}, indent=0) + "\n", encoding="utf-8")
    print(f"{len(names)} operators of Paddle {', '.join(versions)}")


if __name__ == "__main__":
    main()
