"""An edited architecture is another run, wherever in the user's folder it was edited."""

import pytest

from modelward.verbs.sources import factory_digest

FILES = {
    "top.py": "import json\nfrom layers import wide\nfrom kit import parts\n",
    "layers.py": "import deep.inner\n",
    "deep/__init__.py": "",
    "deep/inner.py": "from . import beside\nfrom .other import x\nfrom .. import nowhere\n",
    "deep/beside.py": "import top\n",  # a circle ends
    "deep/other.py": "x = 1\n",
    "kit/__init__.py": "",
    "kit/parts.py": "",
    "unused.py": "",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_every_module_that_is_imported_counts_and_no_other(folder, name):
    before = factory_digest("top:build", folder)
    (folder / name).write_text(FILES[name] + "# edited\n")
    after = factory_digest("top:build", folder)
    assert (after == before) == (name == "unused.py")


def test_a_module_in_a_package(folder):
    before = factory_digest("deep.inner:build", folder)
    (folder / "deep/__init__.py").write_text("y = 2\n")
    assert before != factory_digest("deep.inner:build", folder)


def test_a_factory_that_is_installed_has_no_source_here(folder):
    assert factory_digest("torch.nn:Linear", folder) is None
    assert factory_digest("", folder) is None


def test_a_module_that_cannot_be_parsed_still_counts(folder):
    (folder / "top.py").write_bytes(b"def (:\n\xff")
    assert factory_digest("top:build", folder) is not None


def test_the_digest_does_not_depend_on_the_folder(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for name, text in reversed(FILES.items()):
        (other / name).parent.mkdir(exist_ok=True)
        (other / name).write_text(text)
    assert factory_digest("top:build", other) == factory_digest("top:build", folder)
