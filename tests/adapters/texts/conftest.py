import pickle

import numpy as np
import pytest

SPAM = [
    "win a free prize now",
    "free entry call now to claim",
    "claim your free cash prize",
    "urgent call now",
]
HAM = ["see you at home tonight", "ok lets meet for lunch", "are you at work today", "thanks that was great"]

FACTORY = """
import torch
from torch import nn


class Keyword(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, texts):
        counts = [[float(t.count("free")), float(len(t.split()))] for t in texts]
        return self.layer(torch.tensor(counts))


def build():
    return Keyword()
"""


@pytest.fixture(scope="session")
def messages():
    """(texts, labels): 40 texts of two kinds."""
    return [f"{text} {i}" for i in range(5) for text in SPAM + HAM], (["spam"] * 4 + ["ham"] * 4) * 5


@pytest.fixture(scope="session")
def pipeline(messages):
    text = pytest.importorskip("sklearn.feature_extraction.text")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(text.TfidfVectorizer(), LogisticRegression()).fit(*messages)


@pytest.fixture(scope="session")
def files(tmp_path_factory, messages, pipeline):
    """Folder with csv, pickle, joblib, skops, ONNX and torch weights."""
    import joblib
    import onnx
    import skops.io
    import torch
    from onnx import TensorProto, helper

    folder = tmp_path_factory.mktemp("texts")
    rows = "".join(f'"{text}",{label}\n' for text, label in zip(*messages, strict=True))
    (folder / "messages.csv").write_text("text,label\n" + rows)
    (folder / "spam.pkl").write_bytes(pickle.dumps(pipeline))
    joblib.dump(pipeline, folder / "spam.joblib")
    skops.io.dump(pipeline, folder / "spam.skops")
    for name, shape in (("keyword.onnx", ["n"]), ("column.onnx", ["n", 1])):
        nodes = [
            helper.make_node("RegexFullMatch", ["x"], ["found"], pattern=".*free.*"),
            helper.make_node("Cast", ["found"], ["score"], to=TensorProto.FLOAT),
        ]
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.STRING, shape)],
            [helper.make_tensor_value_info("score", TensorProto.FLOAT, shape)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        onnx.save(model, folder / name)
    (folder / "keyword_factory.py").write_text(FACTORY)
    weights = {
        "layer.weight": torch.tensor([[0.0, 0.0], [2.0, 0.0]]),
        "layer.bias": torch.tensor([0.0, -1.0]),
    }
    torch.save(weights, folder / "keyword.pt")
    return folder


@pytest.fixture
def surrogates():
    """Texts that no fixed-width array or strict UTF-8 keeps."""
    return np.array(
        ["", "ends with zero\0", "\0", "lone \ud800 surrogate", "é\U0001f600", "a\nb"], dtype=object
    )
