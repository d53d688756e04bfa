"""How far a spam filter stands edits of its messages, and how good the search for such edits is.

    python benchmarks/text.py sms_spam.csv.gz --seeds 3 --limit 100

Per seed the table (columns ``text`` and ``label``) is split in two halves, a filter is trained on one, and
points of the other are attacked: half of them spam, half not. Beside the search stand random edits with as
many queries per point, and, for one edit, every edit of every kind at every position.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from modelward.adapters.data import from_arrays
from modelward.adapters.opening import ModelOptions, open_live
from modelward.core.budget import Meter
from modelward.core.check import Settings, Subjects
from modelward.numeric.proportion import wilson
from modelward.threats.evasion.text.check import TextCheck
from modelward.threats.evasion.text.moves import MAKERS, CharacterMoves, Probe
from modelward.threats.evasion.text.normalise import normalised
from modelward.threats.evasion.text.threat import TextThreat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from modelward.core.evidence import Evidence

FILTERS = {
    "words": TfidfVectorizer,
    "characters": lambda: TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), max_features=30_000),
    "words, normalised first": lambda: TfidfVectorizer(preprocessor=lambda text: normalised(text).lower()),
}


class Nowhere:
    """Forgets the witnesses."""

    def put(self, arrays: Mapping[str, NDArray[np.generic]]) -> str:
        """Give a name to nothing."""
        return f"sha256:{len(arrays):064d}"


def evidence(model: Pipeline, points: pd.DataFrame, preset: str, seed: int) -> list[Evidence]:
    """What the check finds on the points."""
    data = from_arrays(points["text"].tolist(), points["label"].to_numpy(object))
    opened = open_live(model, data, None, ModelOptions())
    subjects = Subjects(model=opened.model, data=opened.data, attachments=Nowhere())
    check = TextCheck(Settings(preset=preset, limit=len(points)))
    return list(check.run(subjects, budget=Meter(), seed=seed))


def at_random(model: Pipeline, points: pd.DataFrame, eps: int, *, queries: int, seed: int) -> int:
    """Points that random sequences of at most eps edits turn, with so many queries for each."""
    random, moves, fallen = np.random.default_rng(seed), CharacterMoves(variety=1, places=1), 0
    threat = TextThreat("edits", float(eps))
    for text, label in zip(points["text"], points["label"], strict=True):
        if model.predict([text])[0] != label:
            continue
        tried = []
        for _ in range(queries if threat.room(text) else 0):
            changed, left = text, threat.room(text)
            while left and changed:
                place = int(random.integers(len(changed)))
                made = [
                    m for m in moves.moves(changed, Probe("", place, place + 1), random) if m.cost <= left
                ]
                move = made[int(random.integers(len(made)))]
                changed, left = move.text, left - move.cost
            tried.append(changed)
        turned = [
            new for new, y in zip(tried, model.predict(tried) if tried else [], strict=True) if y != label
        ]
        fallen += any(threat.admits(text, new) for new in turned)
    return fallen


def exhaustive(model: Pipeline, points: pd.DataFrame) -> tuple[int, int]:
    """Points that any single edit turns, and the queries that it took to know."""
    fallen = asked = 0
    for text, label in zip(points["text"], points["label"], strict=True):
        if model.predict([text])[0] != label:
            continue
        single = [make for make, cost in MAKERS.values() if cost == 1]
        tried = [new for i in range(len(text)) for make in single for new in make(text, i)]
        threat, asked = TextThreat("edits", 1.0), asked + len(tried)
        turned = [new for new, y in zip(tried, model.predict(tried), strict=True) if y != label]
        fallen += any(threat.admits(text, new) for new in turned)
    return fallen, asked


def shown(counts: Sequence[int], right: int) -> str:
    """A share with its 95 % interval (Wilson)."""
    low, high = wilson(sum(counts), right, confidence=0.95)
    return f"{sum(counts)}/{right} = {sum(counts) / right:.1%} ({low:.1%} to {high:.1%})"


def main(table: Path, seeds: int, limit: int, preset: str, names: Sequence[str]) -> None:
    """Print one block per filter."""
    messages = pd.read_csv(table, keep_default_na=False)
    for name in names:
        found: dict[float, list[tuple[int, int]]] = {}
        right, clean, luck, brute, asked, removed = 0, [], 0, 0, 0, {}
        start = time.process_time()
        for seed in range(seeds):
            half = messages.sample(frac=0.5, random_state=seed)
            rest = messages.drop(half.index)
            model = make_pipeline(FILTERS[name](), LogisticRegression(C=10.0, max_iter=1000))
            model.fit(half["text"], half["label"])
            clean.append(model.score(rest["text"], rest["label"]))
            points = rest.groupby("label").sample(limit // 2, random_state=seed)
            items = evidence(model, points, preset, seed)
            for item in items:
                broken, queries = len(item.outcome["broken"]), item.cost.queries
                found.setdefault(float(item.parameters["eps"]), []).append((broken, queries))
            item, spent = items[-1], sum(item.cost.queries for item in items)
            eps = int(item.parameters["eps"])
            luck += at_random(model, points, eps, queries=spent // limit, seed=seed)
            right += len(item.outcome["correct"])
            for defence, count in item.outcome["removed_by"].items():
                removed[defence] = removed.get(defence, 0) + count
            single = exhaustive(model, points)
            brute, asked = brute + single[0], asked + single[1]
        print(f"{name}: accuracy {np.mean(clean):.4f}, {seeds} seeds, {limit} points each, {preset}")
        for eps, rows in found.items():
            searched, queries = zip(*rows, strict=True)
            print(f"  {eps:g} edits turn {shown(searched, right)}, {sum(queries):,} queries")
        print(f"  {eps:g} random edits turn {luck} with as many queries as all of these")
        print(f"  one edit, every one of them: {brute} with {asked:,} queries")
        print(f"  at {eps:g} edits, right again after: {removed}")
        print(f"  {time.process_time() - start:.0f} s of CPU", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Attack spam filters by edits.")
    parser.add_argument("table", type=Path, help="csv with the columns text and label.")
    parser.add_argument("--seeds", type=int, default=3, help="Splits, from 0.")
    parser.add_argument("--limit", type=int, default=100, help="Points per seed.")
    parser.add_argument("--preset", default="standard", help="quick, standard or thorough.")
    parser.add_argument("--filters", nargs="+", default=[*FILTERS], choices=[*FILTERS], help="Which.")
    given = parser.parse_args()
    main(given.table, given.seeds, given.limit, given.preset, given.filters)
