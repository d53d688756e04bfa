import numpy as np
import pytest

from modelward.adapters.data import DataOptions, from_arrays
from modelward.core.budget import Budget, Meter
from modelward.core.check import Settings, Subjects
from modelward.core.data import WordVectors
from modelward.core.model import Outputs
from modelward.core.subject import Subject
from modelward.threats.evasion.text.check import TextCheck


class TextModel:
    """A function from one text to the score of "yes"; counts the texts it is asked."""

    def __init__(self, score, kind="logits"):
        self.score, self.asked = score, 0
        self.subject = Subject(kind="model", name="words", digest="sha256:" + "1" * 64, format="callable")
        self.outputs = Outputs(kind=kind, classes=("no", "yes"), origin="stated")

    def scores(self, x):
        assert x.dtype == object
        self.asked += len(x)
        found = np.array([float(self.score(text)) for text in x])
        if self.outputs.kind == "labels":
            return np.column_stack([found <= 0, found > 0]).astype(np.float64)
        return np.column_stack([np.zeros(len(x)), found])


class Store:
    def __init__(self):
        self.held = []

    def put(self, arrays):
        self.held.append(arrays)
        return f"sha256:{len(self.held):064d}"


@pytest.fixture
def text_model():
    return TextModel


@pytest.fixture
def attack():
    """Run the check: ``attack(texts, labels, model, eps=..., **settings)`` gives evidence, store, meter."""

    def run(texts, labels, model, *, vectors=None, budget=None, seed=0, **settings):
        from dataclasses import replace

        data = replace(from_arrays(list(texts), list(labels), options=DataOptions()), vectors=vectors)
        store, meter = Store(), Meter(budget or Budget())
        subjects = Subjects(model=model, data=data, attachments=store)
        check = TextCheck(Settings(**settings))
        assert check.declines(subjects) is None
        return list(check.run(subjects, budget=meter, seed=seed)), store, meter

    return run


@pytest.fixture
def word_vectors():
    """film = movie = picture; good = fine; bad and the others stand apart."""
    named = {"film": 0.0, "movie": 0.2, "picture": 0.5, "good": 1.6, "fine": 1.8, "bad": 3.1, "Paris": 4.5}
    angles = np.array(list(named.values()))
    return WordVectors(
        subject=Subject(kind="dataset", name="vectors", digest="sha256:" + "2" * 64),
        words=tuple(named),
        vectors=np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32),
    )


@pytest.fixture(scope="session")
def alignment_distance():
    """The optimal string alignment distance, by its textbook recurrence over the whole table."""

    def distance(left, right):
        table = np.add.outer(np.arange(len(left) + 1), np.arange(len(right) + 1))
        for i in range(1, len(left) + 1):
            for j in range(1, len(right) + 1):
                same = left[i - 1] == right[j - 1]
                best = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (not same))
                if i > 1 and j > 1 and left[i - 1] == right[j - 2] and left[i - 2] == right[j - 1]:
                    best = min(best, table[i - 2, j - 2] + 1)
                table[i, j] = best
        return int(table[-1, -1])

    return distance
