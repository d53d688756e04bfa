"""What docs/data-sets.md shows is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest

from modelward.cli import main
from modelward.vault.keys.making import make_key

TEXT = (Path(__file__).parents[3] / "docs/data-sets.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """The tables and the key that the page speaks of; of February's rows one is another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELWARD_PASSPHRASE", "passphrase")
    for name, score in (("train", 0.5), ("january", 0.5), ("february", -1.0)):
        scores = np.arange(2000) * 0.5
        scores[777] = score
        table = pa.table({"id": np.arange(2000), "score": scores})
        pq.write_table(table, f"{name}.parquet", row_group_size=400)
        pv.write_csv(table, f"{name}.csv")
    pem, facts = make_key("ed25519", lambda: b"passphrase")
    Path("release.pem").write_bytes(pem)
    Path("release.pem").chmod(0o600)
    Path("release.pem.pub").write_text(facts.public)


def test_the_code_in_the_docs_works(capsys):
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        exec(compile(block, "data-sets.md", "exec"), names)  # noqa: S102 (the page is ours)
    assert names["same"]
    assert (names["changes"].rows_changed, names["changes"].equal) == (1, False)
    assert "rows 777 to 777 of the old table" in capsys.readouterr().out


def test_the_commands_in_the_docs_work():
    lines = re.search(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)[1].splitlines()
    for line in lines:
        with pytest.raises(SystemExit) as ended:
            main(line.split()[1:])
        assert ended.value.code == 0, line
    assert len(lines) == 2
