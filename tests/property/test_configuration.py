"""Whatever a configuration, policy or budget says, the answer is a value or one error of ours."""

from __future__ import annotations

import math
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.core.budget import parse_budget
from modelward.core.catalogue import CLAIMS
from modelward.core.policy import NOT_SHARES, validate
from modelward.engine.plan import select
from modelward.errors import BudgetInvalid, ConfigInvalid, InputError, PolicyInvalid
from modelward.verbs.config import AuditTable, Config, DataTable, ModelTable, read_config, read_policy

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
WORDS = st.sampled_from(
    [
        *ModelTable.__struct_fields__,
        *DataTable.__struct_fields__,
        *AuditTable.__struct_fields__,
        "policy",
        "x",
    ]
)
SCALARS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.floats().map(
        lambda v: {math.inf: "inf", -math.inf: "-inf"}.get(v, "nan" if math.isnan(v) else repr(v))
    ),
    st.sampled_from(["true", "false", "1979-05-27", "[]", "{}", "[1, [2]]", '["a", 1]']),
    st.text(string.ascii_letters + string.digits + " .,/:", max_size=12).map(lambda text: f'"{text}"'),
)


@st.composite
def documents(draw):
    """TOML that is well formed and mostly wrong."""
    lines = []
    for table in draw(st.lists(st.sampled_from(["model", "data", "audit", "policy", "other"]), unique=True)):
        lines.append(f"[{table}]")
        keys = draw(st.lists(WORDS, unique=True, max_size=4))
        lines += [f"{key} = {draw(SCALARS)}" for key in keys]
    return "\n".join(lines)


def refused_in_one_sentence(error, *mentioned):
    text = str(error)
    assert all(str(thing) in text for thing in mentioned)
    assert text
    assert "Traceback" not in text
    assert len(text) < 2000


@in_one_folder
@given(documents())
def test_any_configuration_is_read_or_refused(tmp_path, text):
    path = tmp_path / "modelward.toml"
    path.write_text(text, encoding="utf-8")
    try:
        plan = read_config(path)
    except InputError as error:
        refused_in_one_sentence(error, path)
    else:
        assert plan.options.import_from == tmp_path


@in_one_folder
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path, content):
    path = tmp_path / "modelward.toml"
    path.write_bytes(content)
    for read in (read_config, read_policy):
        try:
            read(path)
        except InputError as error:
            refused_in_one_sentence(error, path)


@in_one_folder
@given(
    st.sampled_from(Config.__struct_fields__[:3]), st.text(string.ascii_lowercase, min_size=1, max_size=10)
)
def test_an_unknown_key_is_never_ignored(tmp_path, table, key):
    path = tmp_path / "modelward.toml"
    path.write_text(f"[{table}]\n{key} = 1\n", encoding="utf-8")
    known = {"model": ModelTable, "data": DataTable, "audit": AuditTable}[table].__struct_fields__
    if key not in known:
        with pytest.raises(ConfigInvalid, match=f"unknown key '{key}' in \\[{table}\\]"):
            read_config(path)


@pytest.mark.parametrize("table", [ModelTable, DataTable, AuditTable])
@given(data=st.data())
def test_a_slip_of_one_letter_is_recognised(tmp_path_factory, table, data):
    key = data.draw(st.sampled_from([name for name in table.__struct_fields__ if len(name) > 4]))
    at = data.draw(st.integers(0, len(key) - 1))
    slip = key[:at] + key[at + 1 :]
    path = tmp_path_factory.getbasetemp() / "slip.toml"
    name = {ModelTable: "model", DataTable: "data", AuditTable: "audit"}[table]
    path.write_text(f"[{name}]\n{slip} = 1\n", encoding="utf-8")
    with pytest.raises(ConfigInvalid, match=rf"unknown key '{slip}' in \[{name}\]; did you mean '{key}'\?"):
        read_config(path)


@given(st.text(max_size=30))
def test_any_budget_is_read_or_refused(text):
    try:
        budget = parse_budget(text)
    except BudgetInvalid as error:
        refused_in_one_sentence(error)
    else:
        found = [budget.seconds, budget.passes, budget.queries]
        assert any(value is not None for value in found)
        assert all(value is None or value > 0 for value in found)


@given(
    st.permutations(["s", "p", "q"]),
    st.tuples(st.floats(0.01, 1e6), st.integers(1, 10**9), st.integers(1, 10**9)),
    st.integers(1, 3),
)
def test_a_budget_says_what_was_written(order, amounts, count):
    written = dict(zip("spq", amounts, strict=True))
    parts = [f"{written[unit]:.6f}s" if unit == "s" else f"{written[unit]}{unit}" for unit in order[:count]]
    budget = parse_budget(", ".join(parts))
    stated = set(order[:count])
    assert budget.seconds == (pytest.approx(written["s"], abs=1e-6) if "s" in stated else None)
    assert budget.passes == (written["p"] if "p" in stated else None)
    assert budget.queries == (written["q"] if "q" in stated else None)


@in_one_folder
@given(
    st.sampled_from([None, "info", "low", "medium", "high", "critical"]),
    st.lists(st.sampled_from(["quality", "evasion"]), max_size=2),
    st.lists(
        st.tuples(
            st.sampled_from([*(claim.id for claim in CLAIMS), "beauty"]),
            st.none() | st.floats(-1, 2),
            st.none() | st.floats(-1, 2),
        ),
        max_size=3,
    ),
)
def test_a_valid_policy_can_refuse_something(tmp_path, severity, required, thresholds):
    lines = [f'max-severity = "{severity}"'] if severity else []
    lines.append(f"required-checks = {required}".replace("'", '"'))
    for claim, least, most in thresholds:
        lines += ["[[require]]", f'claim = "{claim}"']
        lines += [f"at-least = {float(least)!r}"] if least is not None else []
        lines += [f"at-most = {float(most)!r}"] if most is not None else []
    path = tmp_path / "policy.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    policy = read_policy(path)
    possible = severity not in {None, "critical"} or required or thresholds
    sound = all(
        claim != "beauty"
        and (least, most) != (None, None)
        and (least is None or 0 < least <= (math.inf if claim in NOT_SHARES else 1))
        and (most is None or (most >= 0 if claim in NOT_SHARES else 0 <= most < 1))
        and (least is None or most is None or least <= most)
        for claim, least, most in thresholds
    )
    try:
        validate(policy, [claim.id for claim in CLAIMS])
    except PolicyInvalid as error:
        refused_in_one_sentence(error)
        assert not (possible and sound)
    else:
        assert possible
        assert sound


@given(st.lists(st.text(string.ascii_lowercase + ".", max_size=20), min_size=1, max_size=3))
def test_any_selection_is_found_or_refused(prefixes):
    try:
        chosen = select(prefixes)
    except ConfigInvalid as error:
        refused_in_one_sentence(error)
    else:
        for prefix in prefixes:
            assert any(entry.id == prefix or entry.id.startswith(prefix + ".") for entry in chosen)
