"""Train a spam filter on words.

    python examples/text/train.py --out build/demo/text
    python examples/text/train.py --out build/sms --messages sms_spam.csv.gz

The messages are invented (generate.py), or those of a table with the columns ``text`` and ``label``, such as
the UCI SMS Spam Collection. Every seed is fixed, so the same versions of the libraries answer the same.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pandas as pd
import skops.io
from generate import generate
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline

HERE = Path(__file__).parent
ROWS = 3000


def filter_of(texts: pd.Series, labels: pd.Series) -> Pipeline:
    """Which words a message holds, weighed by how rare they are, and a linear decision over them."""
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10.0, max_iter=1000))
    return model.fit(texts, labels)


def main(out: Path, messages: Path | None = None) -> None:
    """Write tables, model and configuration to one folder."""
    out.mkdir(parents=True, exist_ok=True)
    if messages is None:
        table = generate(ROWS, seed=0)
    else:
        table = pd.read_csv(messages, keep_default_na=False)[["text", "label"]]
    train, test = train_test_split(table, test_size=0.5, stratify=table["label"], random_state=0)
    train.to_csv(out / "train.csv", index=False)
    test.to_csv(out / "test.csv", index=False)
    skops.io.dump(filter_of(train["text"], train["label"]), out / "words.skops")
    for path in HERE.glob("*.toml"):
        shutil.copy(path, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the model of examples/text.")
    parser.add_argument("--out", type=Path, default=Path("build/demo/text"), help="Folder to write to.")
    parser.add_argument("--messages", type=Path, help="csv with the columns text and label.")
    arguments = parser.parse_args()
    main(arguments.out, arguments.messages)
