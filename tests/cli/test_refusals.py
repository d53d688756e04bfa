"""What a flag cannot do is said in one sentence, names what could be, and leaves nothing behind."""

from __future__ import annotations

import numpy as np
import pytest

import modelward
from modelward.cli import main

FACTORY = """
import torch

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 2))
"""


def rule(x):
    total = np.asarray(x, np.float64).sum(axis=1)
    return np.stack([-total, total], axis=1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    x = rng.normal(size=(40, 2)) + (2 * y[:, None] - 1)
    np.savez(tmp_path / "d.npz", x=x, y=y)
    lines = [
        f"{a},{b},word {i},{'yes' if t else 'no'}" for i, ((a, b), t) in enumerate(zip(x, y, strict=True))
    ]
    (tmp_path / "d.csv").write_text("\n".join(["a,b,note,label", *lines]) + "\n")
    (tmp_path / "factory_of_refusals.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    options = modelward.AuditOptions(checks=("quality",), store=tmp_path / ".modelward")
    modelward.audit(rule, (x, y), options)
    return tmp_path


@pytest.fixture
def net(folder):
    """Weights of the factory's module."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from safetensors.torch import save_file

    save_file(torch.nn.Sequential(torch.nn.Linear(2, 2)).state_dict(), folder / "net.safetensors")
    return ["net.safetensors", "--factory", "factory_of_refusals:build"]


def ended(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return caught.value.code, told


def refused(arguments, capsys, *parts):
    code, told = ended(arguments, capsys)
    assert code == 2
    assert told.out == ""
    for part in parts:
        assert part in told.err


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--points", "p.csv"], "--points"),
        (["--show-witnesses", "3"], "--show-witnesses"),
        (["--output", "r.html"], "--output"),
        (["--format", "html"], "--format"),
        (["--format", "text"], "--format"),
        (["--run", "abc"], "--run"),
        (["--points", "p.csv", "--show-witnesses", "3"], "--points, --show-witnesses"),
    ],
)
def test_verifying_does_nothing_else_and_says_so(folder, capsys, more, named):
    refused(["report", "--verify", *more], capsys, f"and {named} cannot go with it", "Leave --verify out")
    assert not (folder / "p.csv").exists()
    assert not (folder / "r.html").exists()


def test_verifying_alone_and_with_a_head(folder, capsys):
    code, told = ended(["report", "--verify"], capsys)
    assert code == 0
    head = told.out.split()[-1]
    assert ended(["report", "--verify", "--head", head], capsys)[0] == 0
    # A head without --verify is verified first, and then the result is rendered.
    code, told = ended(["report", "--head", head, "--format", "json", "--points", "p.csv"], capsys)
    assert code in {0, 1}
    assert told.out.startswith("{")
    assert head in told.err
    assert (folder / "p.csv").exists()


@pytest.mark.parametrize("flag", ["--points", "--output"])
def test_a_path_that_cannot_be_written_is_named_and_no_flag_is_blamed(folder, capsys, flag):
    refused(
        ["report", flag, "none/file"], capsys, "none/file", "cannot be written", "a path that can be written",
        "`modelward report` shows stored results again",
    )  # fmt: skip
    _, told = ended(["report", flag, "none/file"], capsys)
    assert "--output" not in told.err.replace("none/file", "")


def test_hardening_lists_what_a_choice_can_be(net, capsys):
    words = ["harden", *net, "--train", "d.npz", "--data", "d.npz", "--eps", "0.1"]
    refused([*words, "--norm", "l1"], capsys, "norm: 'l1' is none of linf, l2")
    refused([*words, "--method", "magic"], capsys, "method: 'magic' is none of pgd, trades, awp", "normalise")
    refused([*words, "--preset", "slow"], capsys, "preset: 'slow' is none of quick, standard, thorough")


def test_texts_for_a_net_of_numbers(net, capsys):
    words = ["harden", *net, "--train", "d.csv", "--data", "d.csv", "--label", "label", "--text", "note"]
    refused([*words, "--eps", "0.1"], capsys, "the model raised TypeError", "leave --text out")
    refused(
        ["audit", net[0], *net[1:], "--data", "d.csv", "--label", "label", "--text", "note"],
        capsys, "the model raised TypeError", "leave --text out",
    )  # fmt: skip


def test_word_vectors_without_texts(net, folder, capsys):
    (folder / "v.txt").write_text("a 1 2\nb 2 1\n")
    refused(
        ["audit", *net, "--data", "d.npz", "--vectors", "v.txt"],
        capsys, "word vectors were given, and d.npz was opened without", "--text",
    )  # fmt: skip


def test_a_table_where_lines_of_text_belong(folder, net, capsys):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"note": ["a b", "c d"], "label": ["x", "y"]}), folder / "t.txt")
    (folder / "l.txt").write_text("x\ny\n")
    for pair in ("t.txt,l.txt", "l.txt,t.txt"):
        refused(
            ["audit", *net, "--data", pair], capsys, "t.txt: is parquet, where lines of text", "--text COLUMN"
        )
    (folder / "t.txt").write_bytes(b"caf\xe9 au lait\n")
    refused(["audit", *net, "--data", "t.txt,l.txt"], capsys, "byte 3 is not UTF-8 text")


@pytest.mark.parametrize(
    ("method", "flag", "value", "methods"),
    [
        ("trees", "--epochs", "5", "pgd, trades, awp, fast, ibp, crown-ibp, sabr, noise"),
        ("trees", "--held-out", "50", "pgd, trades, awp, fast, ibp, crown-ibp, sabr, noise"),
        ("normalise", "--batch", "64", "pgd, trades, awp, fast, ibp, crown-ibp, sabr, noise"),
        ("normalise", "--ramp", "0.2", "pgd, trades, awp, fast, ibp, crown-ibp, sabr, noise"),
        ("trees", "--steps", "3", "pgd, trades, awp, sabr"),
        ("fast", "--steps", "3", "pgd, trades, awp, sabr"),
        ("ibp", "--steps", "3", "pgd, trades, awp, sabr"),
        ("pgd", "--beta", "6", "trades"),
        ("trades", "--gamma", "0.005", "awp"),
        ("sabr", "--kappa", "0.5", "ibp, crown-ibp"),
        ("ibp", "--small", "0.4", "sabr"),
        ("trades", "--trees", "5", "trees"),
        ("noise", "--depth", "4", "trees"),
    ],
)
def test_flags_of_other_methods_are_refused_though_they_say_the_default(
    folder, capsys, *, method, flag, value, methods
):
    words = ["harden", "absent.pt", "--data", "d.npz", "--train", "d.npz", "--eps", "0.1", "--method", method]
    refused([*words, flag, value], capsys, f"{flag} is for {methods}, and means nothing to --method {method}")
    assert not (folder / "hardened").exists()


@pytest.mark.parametrize(
    ("method", "flags"),
    [
        ("trades", ["--beta", "3", "--steps", "2", "--epochs", "2", "--ramp", "0.3", "--held-out", "50"]),
        ("awp", ["--gamma", "0.01", "--batch", "64", "--rate", "0.01"]),
        ("crown-ibp", ["--kappa", "0.3"]),
        ("sabr", ["--small", "0.3", "--steps", "2"]),
        ("trees", ["--trees", "3", "--depth", "2"]),
    ],
)
def test_flags_of_the_method_itself_go_on_to_the_model(folder, capsys, method, flags):
    words = ["harden", "absent.pt", "--data", "d.npz", "--train", "d.npz", "--eps", "0.1", "--method", method]
    refused([*words, *flags], capsys, "absent.pt")


@pytest.mark.parametrize(
    ("more", "sentence", "flag"),
    [
        (["--method", "trees", "--trees", "0"], "trees is 0", "--trees"),
        (["--held-out", "0"], "held_out is 0", "--held-out"),
        (["--rate", "nan"], "rate is nan", "--rate"),
        (["--eps", "0"], "eps is 0", "--eps"),
        (["--minutes", "0"], "minutes is 0", "--minutes"),
        (["--method", "ibp", "--norm", "l2"], "in linf, not in l2", "--norm linf"),
        (["--method", "trees", "--onnx"], "no torch module", "--onnx"),
        (["--method", "trees", "--detectors", "squeezing"], "no torch module", "--detectors"),
        (["--bounds", "1"], "--bounds '1'", "--bounds 0,1"),
        (["--bounds", "1,0"], "not two finite increasing numbers", "--bounds 0,1"),
        (["--limit", "0"], "the limit of points is 0", "--limit"),
        (["--seed", "-1"], "the seed -1", "--seed"),
        (["--detectors", "nose"], "no detector is called 'nose'", "--detectors"),
    ],
)
def test_what_to_do_about_a_flag_of_hardening_names_the_flag(net, capsys, *, more, sentence, flag):
    words = ["harden", *net, "--train", "d.npz", "--data", "d.npz", "--eps", "0.1", *more]
    advised(words, capsys, sentence, flag)


@pytest.mark.parametrize(
    ("more", "sentence", "flag"),
    [
        (["--similarity", "trigrams=2"], "the similarity trigrams is 2.0", "--similarity trigrams="),
        (["--eps", "0"], "every eps must be above 0", "--eps"),
        (["--norm", "patch", "--eps", "2"], "share of the image's area", "--eps"),
        (["--limit", "0"], "the limit of points is 0", "--limit"),
        (["--seed", "-1"], "the seed -1", "--seed"),
        (["--bounds", "1,0"], "not two finite increasing numbers", "--bounds 0,1"),
    ],
)
def test_what_to_do_about_a_flag_of_an_audit_names_the_flag(net, capsys, *, more, sentence, flag):
    advised(["audit", *net, "--data", "d.npz", *more], capsys, sentence, flag)


def advised(arguments, capsys, sentence, flag):
    """The advice, which stands below the sentence, names the flag and no configuration file."""
    code, told = ended(arguments, capsys)
    assert code == 2
    assert sentence in told.err
    assert flag in told.err.partition(sentence)[2]
    assert "modelward init" not in told.err
