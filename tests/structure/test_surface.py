"""What users can name, and what importing costs and does."""

from __future__ import annotations

import importlib
import json
import pkgutil
import warnings

import pytest
from importlinter.cli import lint_imports

import modelward
from modelward.core.catalogue import CHECKS, CLAIMS, load_check, load_judge

STANDARD = "sorted({m.partition('.')[0] for m in sys.modules} - sys.stdlib_module_names - {'__main__', '__mp_main__'})"
HEAVY = {
    "jinja2", "joblib", "lightgbm", "numpy", "onnx", "onnxruntime", "pandas", "pyarrow", "rich", "scipy",
    "skops", "sklearn", "torch", "xgboost",
}  # fmt: skip


def third_party(python, before, folder):
    """The third-party packages loaded after a line of Python, without what the environment itself loads."""
    bare = set(json.loads(python(f"import sys, json; print(json.dumps({STANDARD}))", folder)))
    tail = f"import sys, json; print('\\n' + json.dumps({STANDARD}))"
    return set(json.loads(python(f"{before}\n{tail}", folder).splitlines()[-1])) - bare - {"modelward"}


def test_importing_loads_nothing_else(python, tmp_path):
    assert third_party(python, "import modelward", tmp_path) == set()


def test_help_loads_click_alone(python, tmp_path):
    source = "from modelward.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    assert third_party(python, source, tmp_path) == {"click"}


@pytest.mark.parametrize(
    "verb",
    [
        "audit",
        "bom",
        "harden",
        "init",
        "keys",
        "ledger",
        "open",
        "report",
        "scan",
        "seal",
        "verify",
    ],
)
def test_help_of_a_verb_loads_nothing_heavy(python, tmp_path, verb):
    source = (
        f"from modelward.cli import main\ntry:\n    main(['{verb}', '--help'])\nexcept SystemExit:\n    pass"
    )
    assert not third_party(python, source, tmp_path) & HEAVY


def test_scanning_loads_nothing_that_could_run_a_model(python, tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"N.")
    source = "import modelward\nmodelward.scan('a.pkl')"
    assert not third_party(python, source, tmp_path) & HEAVY


@pytest.mark.parametrize(
    "package", ["core", "errors", "artifact", "sandbox", "ledger", "engine", "threats", "adapters"]
)
def test_importing_a_room_loads_no_heavyweight(python, tmp_path, package):
    assert not third_party(python, f"import modelward.{package}", tmp_path) & HEAVY


def test_importing_has_no_effect(python, tmp_path):
    """Every light module: no file, no output, no thread, no changed environment or signal handler."""
    source = """
import os, signal, sys, threading
before = dict(os.environ), os.getcwd(), [signal.getsignal(s) for s in signal.valid_signals()]
import modelward.cli.main, modelward.core.catalogue, modelward.ledger.store, modelward.sandbox, modelward.errors
import modelward.engine, modelward.artifact.verdict
assert before == (dict(os.environ), os.getcwd(), [signal.getsignal(s) for s in signal.valid_signals()])
assert threading.active_count() == 1
"""
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    work = tmp_path / "work"
    work.mkdir()
    assert python(source, work, HOME=str(home), PYTHONDONTWRITEBYTECODE="1") == ""
    assert list(home.iterdir()) == []
    assert list(work.iterdir()) == []


def test_public_names_are_sorted_and_importable():
    assert list(modelward.__all__) == sorted(modelward.__all__)
    for name in modelward.__all__:
        assert getattr(modelward, name).__name__ == name


def test_public_names_are_these():
    assert set(modelward.__all__) == {
        "AmendOptions", "Attesting", "AuditOptions", "AuditResult", "BomOptions", "Comparison", "HardenOptions",
        "ModelwardError", "OpenOptions", "Talk",
        "Policy", "ScanOptions", "SealOptions", "SignOptions", "Threshold", "Training", "TrustOptions", "Verification",
        "VerifyOptions", "amend", "audit", "bom", "harden", "init", "open_sealed", "read_policy", "report", "scan", "seal",
        "sign", "unseal", "verify",
    }  # fmt: skip


def test_no_public_name_is_a_room():
    rooms = {module.name for module in pkgutil.iter_modules(modelward.__path__)}
    assert not rooms & set(modelward.__all__)


def test_the_names_are_listed_and_others_refused():
    assert set(modelward.__all__) <= set(dir(modelward))
    with pytest.raises(AttributeError, match="no attribute 'sharpen'"):
        modelward.sharpen  # noqa: B018 (the access is the test)


def test_every_catalogue_entry_imports():
    for check in CHECKS:
        assert callable(load_check(check)), check.id
    for claim in CLAIMS:
        assert callable(load_judge(claim)), claim.id


def test_checks_and_claims_fit_each_other():
    claims = {claim.id for claim in CLAIMS}
    assert len(claims) == len(CLAIMS)
    assert len({check.id for check in CHECKS}) == len(CHECKS)
    assert {claim for check in CHECKS for claim in check.feeds} == claims


def test_every_module_imports(root):
    """Also those that nothing above reaches."""
    pytest.importorskip("torch", reason="modules of the extra torch")
    for path in sorted((root / "src").rglob("*.py")):
        name = ".".join(path.relative_to(root / "src").with_suffix("").parts).removesuffix(".__init__")
        with warnings.catch_warnings():
            if name.startswith("modelward.vault.mlflow"):  # MLflow uses what SQLAlchemy 2.1 deprecates
                warnings.simplefilter("ignore", DeprecationWarning)
            importlib.import_module(name)


def test_dependencies_point_one_way(root, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root / "src"))
    assert lint_imports(config_filename=str(root / "pyproject.toml"), no_cache=True) == 0
