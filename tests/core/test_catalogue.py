"""The static catalogue names what exists, and nothing else."""

import subprocess
import sys

import pytest

from modelward.core.catalogue import CHECKS, CLAIMS, check_entry, load_check, load_judge
from modelward.core.check import Settings, Subjects
from modelward.core.claim import Judgement

CLAIM_IDS = [entry.id for entry in CLAIMS]


class Nowhere:
    def put(self, arrays):
        raise AssertionError(arrays)


def test_ids_are_unique():
    assert len({entry.id for entry in CHECKS}) == len(CHECKS)
    assert len(set(CLAIM_IDS)) == len(CLAIMS)


@pytest.mark.parametrize("entry", CHECKS, ids=lambda entry: entry.id)
def test_every_check_is_what_its_entry_says(entry):
    made = load_check(entry)(Settings())
    assert made.id == entry.id
    assert isinstance(made.version, int)
    assert made.version >= 1
    assert set(entry.feeds) <= set(CLAIM_IDS)
    assert entry.feeds
    assert entry.share >= 1
    assert check_entry(entry.id) is entry


@pytest.mark.parametrize("entry", CLAIMS, ids=lambda entry: entry.id)
def test_every_claim_is_fed_and_its_judge_makes_nothing_of_nothing(entry):
    fed = [check.id for check in CHECKS if entry.id in check.feeds]
    assert fed
    assert load_judge(entry)([]) == Judgement()


def test_what_is_absent_is_declined_in_a_sentence_and_never_raised():
    nothing = Subjects(attachments=Nowhere())
    assert nothing.digests() == {}
    declined = load_check(check_entry("artifact.pickle"))(Settings()).declines(nothing)
    assert declined
    assert "no file" in declined


def test_an_unknown_check_is_a_key_error():
    with pytest.raises(KeyError):
        check_entry("evasion")


def test_reading_the_catalogue_imports_no_check():
    code = (
        "import sys; import modelward.core.catalogue;"
        "print([m for m in sys.modules if m.startswith(('modelward.threats', 'modelward.artifact', 'numpy'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
