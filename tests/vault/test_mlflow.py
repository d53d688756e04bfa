"""The plugin with real MLflow: SQLite and artifacts in a temporary folder, no server and no network."""

import copy
import logging
import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward.errors import (
    ConfigInvalid,
    ContentChanged,
    FileMissing,
    KeyExpired,
    PolicyInvalid,
    PolicyRefused,
    Revoked,
    RolledBack,
    SealDamaged,
    SealRefused,
    SignatureInvalid,
    SignerMissing,
)
from modelward.vault import bundle
from modelward.vault.attest.attestation import attest
from modelward.vault.attest.predicates import Bom, Release
from modelward.vault.dsse import Statement
from modelward.vault.hazmat import asymmetric
from modelward.vault.keys import editing, ringfile
from modelward.vault.keys.keyring import SEALS, RingKey
from modelward.vault.keys.signer import LocalSigner
from modelward.vault.mlflow.gate import ATTESTATIONS, FOLDER, SEAL, VARIABLE, Gate, GateOptions

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when it is imported: no test asks a network
mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed")

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # stages are deprecated, and still in use
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def key():
    return LocalSigner(asymmetric.generate("ed25519"))


@pytest.fixture(scope="module")
def other():
    return LocalSigner(asymmetric.generate("ecdsa-p256"))


@pytest.fixture
def configure(tmp_path, monkeypatch, key):
    """A gate's configuration; its state lies in the test's folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "release.pem").write_bytes(key.public.pem)

    def write(text='public-keys = ["release.pem"]\n'):
        path = tmp_path / "gate.toml"
        path.write_text(text)
        monkeypatch.setenv(VARIABLE, str(path))
        return path

    return write


# The gate alone, without MLflow's registry.


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "data/weights.bin").write_bytes(bytes(range(256)) * 100)
    return folder


@pytest.fixture
def seal(model, key):
    def put(*signers):
        from modelward.vault.signing.tree_statement import sign_tree
        from modelward.vault.tree.hashing import TreeOptions, hash_tree

        beside = model / FOLDER
        beside.mkdir(exist_ok=True)
        tree = hash_tree(model, TreeOptions(excluded=(beside / SEAL, beside / ATTESTATIONS)))
        (beside / SEAL).write_bytes(sign_tree(tree, signers or [key], name="m", listed=True))
        return tree.root

    return put


def test_a_sealed_model_passes(configure, model, seal, key):
    seal()
    assert Gate.read(configure()).check(model) == (key.public.key_id,)


def test_what_mlflow_adds_on_a_download_is_left_out(configure, model, seal):
    seal()
    (model / "registered_model_meta").write_text("model_name: m\n")
    Gate.read(configure()).check(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: (m / "MLmodel").write_text("flavors: {python_function: {}}\n"),
        lambda m: (m / "data/weights.bin").unlink(),
        lambda m: (m / "code.py").write_text("print()"),
        lambda m: (m / "data/weights.bin").rename(m / "data/other.bin"),
        lambda m: (m / FOLDER / "code.py").write_text("print()"),
        lambda m: (m / "data/registered_model_meta").write_text("x"),
    ],
    ids=["altered", "missing", "added", "renamed", "beside the seal", "below"],
)
def test_what_changed_after_sealing_is_refused(configure, model, seal, change):
    seal()
    change(model)
    with pytest.raises(ContentChanged):
        Gate.read(configure()).check(model)


def test_an_unsealed_model_is_refused(configure, model, tmp_path):
    with pytest.raises(SignerMissing, match="carries no seal"):
        Gate.read(configure()).check(model)
    (model / FOLDER).mkdir()
    (tmp_path / "elsewhere").write_text("{}")
    (model / FOLDER / SEAL).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SignerMissing):
        Gate.read(configure()).check(model)


def test_a_damaged_seal_is_refused(configure, model, seal):
    seal()
    path = model / FOLDER / SEAL
    before = path.read_bytes()
    for data in (b"", b"{}", before[:-30], before.replace(b"dsseEnvelope", b"messageSignature")):
        path.write_bytes(data)
        with pytest.raises(SealDamaged):
            Gate.read(configure()).check(model)


def test_no_changed_byte_of_a_seal_passes_for_another(configure, model, seal, key):
    seal()
    path, gate = model / FOLDER / SEAL, Gate.read(configure())
    before = path.read_bytes()
    for place in range(0, len(before), 17):
        flipped = bytearray(before)
        flipped[place] ^= 2
        path.write_bytes(flipped)
        try:
            assert gate.check(model) == (key.public.key_id,)  # white space, the unauthenticated hint
        except (SealRefused, SignatureInvalid):
            continue


def test_another_key_is_refused(configure, model, seal, other):
    seal(other)
    with pytest.raises(SignerMissing):
        Gate.read(configure()).check(model)


def test_a_threshold(configure, model, seal, key, other):
    (model.parent / "second.pem").write_bytes(other.public.pem)
    text = 'public-keys = ["release.pem", "second.pem"]\nthreshold = 2\n'
    seal(key)
    with pytest.raises(SignerMissing):
        Gate.read(configure(text)).check(model)
    seal(key, other)
    assert len(Gate.read(configure(text)).check(model)) == 2


def added(key, name, **said):
    facts = {"purposes": (SEALS,), "valid_from": NOW - timedelta(days=8), **said}
    entry = RingKey(id=key.public.key_id, name=name, pem=key.public.pem.decode(), **facts)
    return lambda found: editing.with_key(found, entry, NOW)


@pytest.fixture
def ring(tmp_path, key):
    """A keyring with one key, signed by an owner; `change` makes the next line of it."""
    owner = LocalSigner(asymmetric.generate("ed25519"))
    (tmp_path / "owner.pem").write_bytes(owner.public.pem)
    lines = []

    def save(change):
        before = None if not lines else lines[-1].ring
        lines.append(ringfile.sign(change(before), [owner], before))
        (tmp_path / "ring").write_bytes(ringfile.encode(lines))

    save(lambda _: editing.begin([owner.public], 1, NOW - timedelta(days=9), None))
    save(added(key, "release", valid_until=NOW + timedelta(days=10)))
    return save


BOM = Bom(document={"bomFormat": "CycloneDX", "specVersion": "1.6"})
RING = 'keyring = "ring"\nowners = ["owner.pem"]\n'


@pytest.mark.usefixtures("ring")
def test_a_keyring_says_who_may_sign(configure, model, seal, key, other):
    seal()
    gate = Gate.read(configure(RING))
    assert gate.check(model) == (key.public.key_id,)
    seal(other)
    with pytest.raises(SignerMissing):
        gate.check(model)
    seal()
    with pytest.raises(KeyExpired):
        gate.check(model, NOW + timedelta(days=11))


def test_a_revocation_counts_at_once(configure, model, seal, ring, key):
    """The gate that is open already sees it."""
    root = seal()
    gate = Gate.read(configure(RING))
    gate.check(model)
    ring(lambda found: editing.with_revoked(found, root, NOW - timedelta(days=1), "poisoned data", NOW))
    with pytest.raises(Revoked):
        gate.check(model)


def test_a_revoked_key_is_refused(configure, model, seal, ring, key):
    seal()
    ring(lambda found: editing.with_revoked(found, key.public.key_id, NOW - timedelta(days=1), "stolen", NOW))
    with pytest.raises(Revoked):
        Gate.read(configure(RING)).check(model)


def test_an_expired_key_does_not_help_to_a_threshold(*, configure, model, seal, ring, key, other):
    ring(added(other, "other", valid_until=NOW + timedelta(days=1)))
    seal(key, other)
    gate = Gate.read(configure(RING + "threshold = 2\n"))
    assert len(gate.check(model)) == 2
    with pytest.raises(SignerMissing, match="1 keys that may seal"):
        gate.check(model, NOW + timedelta(days=2))


def test_a_revoked_key_attests_nothing(*, configure, model, seal, ring, key, other):
    root = seal()
    ring(added(other, "auditor", purposes=("bom",)))
    attested(model, BOM, other, root)
    assert Gate.read(configure(RING)).check(model) == (key.public.key_id,)
    ring(lambda found: editing.with_revoked(found, "auditor", NOW - timedelta(days=1), "stolen", NOW))
    with pytest.raises(PolicyRefused, match="revoked"):
        Gate.read(configure(RING)).check(model)


def test_an_auditor_of_the_policy_attests(configure, model, seal, key, other):
    root = seal()
    (model.parent / "a.pem").write_bytes(other.public.pem)
    (model.parent / "policy.toml").write_text('[attestations]\nrequired = ["bom"]\nkeys = ["a.pem"]\n')
    attested(model, BOM, other, root)
    text = 'public-keys = ["release.pem"]\npolicy = "policy.toml"\n'
    assert Gate.read(configure(text)).check(model) == (key.public.key_id,)


def test_a_policy_is_asked_too(configure, model, seal, tmp_path):
    seal()
    (tmp_path / "policy.toml").write_text('[attestations]\nrequired = ["scan"]\n')
    with pytest.raises(PolicyRefused, match="scan"):
        Gate.read(configure('public-keys = ["release.pem"]\npolicy = "policy.toml"\n')).check(model)


def test_an_attestation_of_another_model_is_refused(configure, model, seal, key):
    seal()
    subject = ("m", {"sha256": "0" * 64})
    statement = Statement(
        subjects=(subject,), predicate_type="https://modelward.dev/release/v1", predicate={}
    )
    (model / FOLDER / ATTESTATIONS).mkdir()
    (model / FOLDER / ATTESTATIONS / "0.json").write_bytes(bundle.make(statement, [key]))
    with pytest.raises(PolicyRefused, match="no attestation of this"):
        Gate.read(configure()).check(model)


def attested(model, content, key, root, name="0.json"):
    folder = model / FOLDER / ATTESTATIONS
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(attest(content, root, "m", [key]))


def test_a_policy_that_is_satisfied_lets_it_pass(configure, model, seal, key):
    root = seal()
    (model.parent / "policy.toml").write_text('[attestations]\nrequired = ["bom"]\n')
    gate = Gate.read(configure('public-keys = ["release.pem"]\npolicy = "policy.toml"\n'))
    with pytest.raises(PolicyRefused, match="bom"):
        gate.check(model)
    attested(model, BOM, key, root)
    assert gate.check(model) == (key.public.key_id,)


def test_a_release_that_is_over_is_refused_without_a_policy(configure, model, seal, key):
    root = seal()
    attested(model, Release(until=NOW + timedelta(hours=1)), key, root)
    gate = Gate.read(configure())
    gate.check(model)
    with pytest.raises(PolicyRefused):
        gate.check(model, NOW + timedelta(hours=2))


def test_an_attestation_by_a_stranger_refuses(configure, model, seal, other):
    root = seal()
    attested(model, Release(until=NOW + timedelta(hours=1)), other, root)
    with pytest.raises(PolicyRefused, match="no attestation of this"):
        Gate.read(configure()).check(model)


@pytest.mark.parametrize(
    "text", ["", "[attestations]\nrequired = []\n", "[attestation]\nrequired = ['scan']\n"]
)
def test_a_policy_that_would_admit_everything_refuses(configure, model, seal, text):
    seal()
    (model.parent / "policy.toml").write_text(text)
    with pytest.raises((PolicyInvalid, ConfigInvalid)):
        Gate.read(configure('public-keys = ["release.pem"]\npolicy = "policy.toml"\n')).check(model)


def test_an_older_keyring_is_refused(configure, model, seal, ring, key):
    """Whoever can put back yesterday's keyring could undo a revocation."""
    seal()
    gate, path = Gate.read(configure(RING)), model.parent / "ring"
    yesterday = path.read_bytes()
    ring(
        lambda found: editing.with_revoked(found, "sha256:" + "0" * 64, NOW - timedelta(days=1), "other", NOW)
    )
    gate.check(model)
    path.write_bytes(yesterday)
    with pytest.raises(RolledBack):
        gate.check(model)


def test_a_keyring_of_other_owners_is_refused(configure, model, seal, ring, other):
    seal()
    (model.parent / "owner.pem").write_bytes(other.public.pem)
    with pytest.raises(SealRefused):
        Gate.read(configure(RING)).check(model)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_are_no_seal(configure, model, data):
    (model / FOLDER).mkdir(exist_ok=True)
    (model / FOLDER / SEAL).write_bytes(data)
    with pytest.raises(SealRefused):
        Gate.read(configure()).check(model)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=120))
def test_any_text_is_a_configuration_or_refused(tmp_path, text):
    path = tmp_path / "gate.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(ConfigInvalid):
        Gate.read(path)


def test_a_seal_that_is_a_pipe_or_too_large_is_refused(configure, model, monkeypatch):
    (model / FOLDER).mkdir()
    os.mkfifo(model / FOLDER / SEAL)
    with pytest.raises(SealDamaged):
        Gate.read(configure()).check(model)
    (model / FOLDER / SEAL).unlink()
    (model / FOLDER / SEAL).write_bytes(b" " * 100)
    monkeypatch.setattr("modelward.vault.mlflow.gate._LARGEST", 99)
    with pytest.raises(SealDamaged, match="more than 99 bytes"):
        Gate.read(configure()).check(model)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", ConfigInvalid), ("threshold = 0\npublic-keys = ['release.pem']", ConfigInvalid), ("public-key = ['release.pem']", ConfigInvalid),
        ("keyring = 'ring'", ConfigInvalid), ("public-keys = ['release.pem']\nstages = []\naliases = []", ConfigInvalid), ("= 1", ConfigInvalid),
        ("public-keys = 'release.pem'", ConfigInvalid),
    ],
)  # fmt: skip
def test_a_configuration_that_would_let_anything_pass_is_refused(configure, text, error):
    with pytest.raises(error):
        Gate.read(configure(text))


def test_a_configuration_names_files_that_exist(configure, model, seal, tmp_path, monkeypatch):
    seal()
    with pytest.raises(FileMissing):
        Gate.read(configure('public-keys = ["gone.pem"]\n')).check(model)
    with pytest.raises(FileMissing):
        Gate.read(tmp_path / "gone.toml")
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ConfigInvalid, match=VARIABLE):
        Gate.from_environment()


def test_the_configuration_in_the_docs_is_valid(configure):
    text = (Path(__file__).parents[2] / "docs/mlflow.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml gate\n(.*?)```", text, re.DOTALL)
    gate = Gate.read(configure(block))
    assert gate._options.stages == GateOptions().stages
    assert gate._options.aliases == GateOptions().aliases


def test_stages_and_aliases_that_are_gated(tmp_path):
    gate = Gate(GateOptions(public_keys=("k",)), tmp_path)
    assert gate.gates_stage("production")
    assert gate.gates_stage("Staging")
    assert not gate.gates_stage("Archived")
    assert not gate.gates_stage("None")
    assert gate.gates_alias("anything")
    narrow = Gate(GateOptions(public_keys=("k",), stages=(), aliases=("champion", "prod-*")), tmp_path)
    assert not narrow.gates_stage("Production")
    assert narrow.gates_alias("Champion")
    assert narrow.gates_alias("prod-eu")
    assert not narrow.gates_alias("candidate")


# With MLflow.


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """An empty database with MLflow's tables: making them is slow."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    SqlAlchemyStore(f"sqlite:///{path}", str(path.parent))
    return path


@pytest.fixture
def client(tmp_path, monkeypatch, migrated, configure):
    """A client whose registry is opened through the entry point's function."""
    from mlflow.tracking._model_registry import utils

    from modelward.vault.mlflow import open_store

    configure()
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    database = tmp_path / "mlflow.db"
    shutil.copy(migrated, database)
    utils._get_store_registry().register("modelward+sqlite", open_store)
    mlflow.set_tracking_uri(f"sqlite:///{database}")
    mlflow.set_registry_uri(f"modelward+sqlite:///{database}")
    yield mlflow.MlflowClient()
    mlflow.set_registry_uri("")
    mlflow.set_tracking_uri("")
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    utils._get_store_registry()._get_store_with_resolved_uri.cache_clear()


@pytest.fixture
def logged(client, tmp_path, model):
    """A logged model, without a flavor: (URI, where its artifacts lie)."""

    def log():
        experiment = client.get_experiment_by_name("e")
        number = (
            experiment.experiment_id
            if experiment
            else client.create_experiment("e", (tmp_path / "art").as_uri())
        )
        made = client.create_logged_model(number, name="m")
        client.log_model_artifacts(made.model_id, str(model))
        client.finalize_logged_model(made.model_id, "READY")
        place = client.get_logged_model(made.model_id).artifact_location
        return f"models:/{made.model_id}", Path(place.removeprefix("file://"))

    return log


@pytest.fixture
def registered(client, logged):
    """A registered version: (version, URI, where its artifacts lie)."""

    def register():
        uri, place = logged()
        if not client.search_registered_models():
            client.create_registered_model("m")
        return client.create_model_version("m", source=uri).version, uri, place

    return register


def stage_of(client, version):
    return client.get_model_version("m", version).current_stage


def test_a_version_without_a_seal_does_not_reach_a_gated_stage(client, registered):
    version, _, _ = registered()
    with pytest.raises(mlflow.exceptions.MlflowException, match="carries no seal") as refused:
        client.transition_model_version_stage("m", version, "Production")
    assert refused.value.error_code == "PERMISSION_DENIED"
    assert isinstance(refused.value.__cause__, SignerMissing)
    assert stage_of(client, version) == "None"
    with pytest.raises(mlflow.exceptions.MlflowException, match="carries no seal"):
        client.set_registered_model_alias("m", "champion", version)
    assert client.get_registered_model("m").aliases == {}
    client.transition_model_version_stage("m", version, "Archived")
    assert stage_of(client, version) == "Archived"


def test_a_sealed_version_reaches_it(client, registered, key):
    from modelward.vault.mlflow.sealing import seal_logged_model

    version, uri, place = registered()
    root = seal_logged_model(uri, [key])
    assert root.startswith("sha256:")
    assert (place / FOLDER / SEAL).is_file()
    client.transition_model_version_stage("m", version, "production")
    client.set_registered_model_alias("m", "champion", version)
    assert stage_of(client, version) == "Production"
    assert client.get_registered_model("m").aliases == {"champion": version}
    assert seal_logged_model(uri, [key]) == root  # the seal is no part of what is sealed


@pytest.mark.parametrize(
    "change",
    [
        lambda place: (place / "MLmodel").write_text("flavors: {evil: {}}\n"),
        lambda place: (place / "data/weights.bin").unlink(),
        lambda place: (place / "loader.py").write_text("print()"),
        lambda place: (place / FOLDER / SEAL).write_text("{}"),
        lambda place: (place / FOLDER / SEAL).unlink(),
    ],
    ids=["altered", "missing", "added", "seal damaged", "seal removed"],
)
def test_a_version_that_was_altered_after_sealing_is_refused(client, registered, key, change):
    from modelward.vault.mlflow.sealing import seal_logged_model

    version, uri, place = registered()
    seal_logged_model(uri, [key])
    change(place)
    for ask in (
        lambda: client.transition_model_version_stage("m", version, "Staging"),
        lambda: client.set_registered_model_alias("m", "champion", version),
    ):
        with pytest.raises(mlflow.exceptions.MlflowException, match="is refused for") as refused:
            ask()
        assert isinstance(refused.value.__cause__, SealRefused)
    assert stage_of(client, version) == "None"


def test_a_version_that_another_key_sealed_is_refused(client, registered, other):
    from modelward.vault.mlflow.sealing import seal_logged_model

    version, uri, _ = registered()
    seal_logged_model(uri, [other])
    with pytest.raises(mlflow.exceptions.MlflowException, match="is refused for alias champion"):
        client.set_registered_model_alias("m", "champion", version)


def test_a_revoked_model_is_refused_and_the_last_good_version_passes(
    client, registered, key, configure, ring
):
    """The drill: revoke, then roll back."""
    from modelward.vault.mlflow.sealing import seal_logged_model

    configure(RING)
    good, good_uri, _ = registered()
    seal_logged_model(good_uri, [key])
    bad, bad_uri, place = registered()
    (place / "data/weights.bin").write_bytes(b"poisoned")
    root = seal_logged_model(bad_uri, [key])
    client.set_registered_model_alias("m", "champion", bad)
    ring(lambda found: editing.with_revoked(found, root, NOW - timedelta(days=1), "poisoned", NOW))
    with pytest.raises(mlflow.exceptions.MlflowException, match="revoked") as refused:
        client.transition_model_version_stage("m", bad, "Production")
    assert isinstance(refused.value.__cause__, Revoked)
    client.set_registered_model_alias("m", "champion", good)
    client.transition_model_version_stage("m", good, "Production")


def test_prompts_are_no_models_and_prompt_calls_are_no_way_around(client, registered):
    version, _, _ = registered()
    store = client._get_registry_client().store
    with pytest.raises(mlflow.exceptions.MlflowException, match="carries no seal"):
        store.set_prompt_alias("m", "champion", version)
    store.create_prompt("greeting")
    store.create_prompt_version("greeting", "Hello {{name}}")
    store.set_prompt_alias("greeting", "champion", 1)
    assert store.get_prompt_version_by_alias("greeting", "champion").version == 1


def test_artifacts_that_are_gone_are_refused(client, registered, key):
    from modelward.vault.mlflow.sealing import seal_logged_model

    version, uri, place = registered()
    seal_logged_model(uri, [key])
    shutil.rmtree(place)
    with pytest.raises((mlflow.exceptions.MlflowException, OSError)):
        client.transition_model_version_stage("m", version, "Production")
    assert stage_of(client, version) == "None"


def test_a_registry_without_a_configuration_does_not_open(client, monkeypatch, tmp_path):
    from modelward.vault.mlflow import open_store

    monkeypatch.delenv(VARIABLE)
    with pytest.raises(mlflow.exceptions.MlflowException, match=VARIABLE) as refused:
        open_store(f"modelward+sqlite:///{tmp_path}/mlflow.db")
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    (tmp_path / "gate.toml").write_text("treshold = 1")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gate.toml"))
    with pytest.raises(mlflow.exceptions.MlflowException, match="did you mean 'threshold'"):
        open_store(f"modelward+sqlite:///{tmp_path}/mlflow.db")


def test_a_model_of_a_run_is_sealed_where_it_lies(client, model, tmp_path, key):
    from modelward.vault.mlflow.sealing import seal_logged_model

    experiment = client.create_experiment("runs", (tmp_path / "art").as_uri())
    run = client.create_run(experiment).info.run_id
    client.log_artifacts(run, str(model), "path/model")
    uri = f"runs:/{run}/path/model"
    seal_logged_model(uri, [key], name="credit")
    client.create_registered_model("m")
    version = client.create_model_version("m", source=uri, run_id=run).version
    client.set_registered_model_alias("m", "champion", version)
    client.log_text(run, "altered", "path/model/MLmodel")
    with pytest.raises(mlflow.exceptions.MlflowException, match="MLmodel"):
        client.set_registered_model_alias("m", "other", version)


def test_one_file_of_a_run_is_no_model(client, model, tmp_path, key):
    from modelward.vault.mlflow.sealing import seal_logged_model

    run = client.create_run(client.create_experiment("runs", (tmp_path / "art").as_uri())).info.run_id
    client.log_artifacts(run, str(model), "model")
    with pytest.raises(FileMissing, match="is one file"):
        seal_logged_model(f"runs:/{run}/model/MLmodel", [key])


def test_what_is_downloaded_is_verified_where_it_lies(client, registered, key, tmp_path, configure):
    from modelward.vault.mlflow.sealing import download_verified, seal_logged_model

    version, uri, place = registered()
    seal_logged_model(uri, [key])
    client.set_registered_model_alias("m", "champion", version)
    gate = Gate.read(configure())
    found = download_verified("models:/m@champion", tmp_path / "a", gate)
    assert (found / "data/weights.bin").read_bytes() == bytes(range(256)) * 100
    (place / "data/weights.bin").write_bytes(b"swapped after the gate")
    with pytest.raises(ContentChanged):
        download_verified("models:/m@champion", tmp_path / "b", gate)


def test_attestations_are_logged_beside_the_seal(client, registered, key):
    from modelward.vault.mlflow.sealing import seal_logged_model

    seen = []

    def attest(root, name):
        seen.append((root, name))
        subject = (name, {"sha256": root.removeprefix("sha256:")})
        kind, said = "https://cyclonedx.org/bom", {"bomFormat": "CycloneDX", "specVersion": "1.6"}
        statement = Statement(subjects=(subject,), predicate_type=kind, predicate=said)
        return {"bom.json": bundle.make(statement, [key])}

    version, uri, place = registered()
    root = seal_logged_model(uri, [key], name="credit", attest=attest)
    assert seen == [(root, "credit")]
    assert (place / FOLDER / ATTESTATIONS / "bom.json").is_file()
    client.transition_model_version_stage("m", version, "Production")


@pytest.mark.filterwarnings("ignore::UserWarning")  # of type hints
def test_a_model_that_mlflow_wrote_is_sealed_gated_and_served(client, key, tmp_path, configure):
    """Python's own flavor, models from code, from `log_model` to a prediction."""
    pytest.importorskip("pandas")
    from modelward.vault.mlflow.sealing import download_verified, seal_logged_model

    (tmp_path / "doubling.py").write_text(
        "import mlflow\n"
        "class Doubling(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input: list[int], params=None):\n        return [2 * value for value in model_input]\n"
        "mlflow.models.set_model(Doubling())\n"
    )
    experiment = client.create_experiment("doubling", (tmp_path / "art").as_uri())
    with mlflow.start_run(experiment_id=experiment):
        info = mlflow.pyfunc.log_model(
            name="doubling", python_model=str(tmp_path / "doubling.py"), pip_requirements=[],
            registered_model_name="doubling",
        )  # fmt: skip
    with pytest.raises(mlflow.exceptions.MlflowException, match="carries no seal"):
        client.set_registered_model_alias("doubling", "champion", "1")
    seal_logged_model(info.model_uri, [key], name="doubling")
    client.set_registered_model_alias("doubling", "champion", "1")
    folder = download_verified("models:/doubling@champion", tmp_path / "served", Gate.read(configure()))
    assert mlflow.pyfunc.load_model(str(folder)).predict([1, 2, 3]) == [2, 4, 6]


def test_a_copied_version_is_asked_again(client, registered, key):
    """A copy is a version of its own, without stage or alias, with the same artifacts and so the same seal."""
    from modelward.vault.mlflow.sealing import seal_logged_model

    version, uri, _ = registered()
    copied = client.copy_model_version(f"models:/m/{version}", "other")
    with pytest.raises(mlflow.exceptions.MlflowException, match="carries no seal"):
        client.set_registered_model_alias("other", "champion", copied.version)
    seal_logged_model(uri, [key])
    client.set_registered_model_alias("other", "champion", copied.version)


def test_archiving_the_others_happens_only_when_the_gate_opens(client, registered, key):
    from modelward.vault.mlflow.sealing import seal_logged_model

    good, uri, _ = registered()
    seal_logged_model(uri, [key])
    client.transition_model_version_stage("m", good, "Production")
    bad, _, _ = registered()
    with pytest.raises(mlflow.exceptions.MlflowException):
        client.transition_model_version_stage("m", bad, "Production", archive_existing_versions=True)
    assert stage_of(client, good) == "Production"


def test_versions_that_do_not_exist_are_mlflows_to_refuse(client, registered):
    registered()
    with pytest.raises(mlflow.exceptions.MlflowException, match="not found"):
        client.set_registered_model_alias("m", "champion", "99")
    with pytest.raises(mlflow.exceptions.MlflowException):
        client.transition_model_version_stage("m", "1", "Nonsense")


def test_only_what_was_logged_is_sealed(client, key, tmp_path):
    from modelward.vault.mlflow.sealing import seal_logged_model

    for uri in ("models:/m/1", "models:/m@champion", str(tmp_path), "file:///etc"):
        with pytest.raises(ConfigInvalid, match="where it was logged"):
            seal_logged_model(uri, [key])


def test_everything_else_is_mlflows(client, registered):
    version, _, _ = registered()
    client.set_model_version_tag("m", version, "k", "v")
    assert client.get_model_version("m", version).tags == {"k": "v"}
    client.update_model_version("m", version, "text")
    client.delete_model_version("m", version)
    assert client.search_model_versions("name = 'm'") == []
    store = client._get_registry_client().store
    with pytest.raises(AttributeError):
        store.none_of_that  # noqa: B018


def test_the_store_can_be_copied(client):
    store = client._get_registry_client().store
    again = copy.copy(store)  # attributes are asked for before there are any
    assert again.search_registered_models() == []


def test_mlflow_finds_the_plugin_by_its_entry_point(tmp_path, migrated, configure):
    """In a process of its own, with the entry points of pyproject.toml and nothing registered by hand."""
    root = Path(__file__).parents[2]
    points = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    (tmp_path / "plug-1.dist-info").mkdir()
    (tmp_path / "plug-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1\n")
    lines = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in named.items()) for group, named in points.items()
    ]
    (tmp_path / "plug-1.dist-info/entry_points.txt").write_text("\n".join(lines))
    configure()
    shutil.copy(migrated, tmp_path / "mlflow.db")
    code = (
        "import mlflow, sys\n"
        "client = mlflow.MlflowClient(sys.argv[1], 'modelward+' + sys.argv[1])\n"
        "client.create_registered_model('m')\n"
        "client.create_model_version('m', source=sys.argv[2])\n"
        "try:\n    client.set_registered_model_alias('m', 'champion', '1')\n"
        "except mlflow.exceptions.MlflowException as error:\n    print(error.error_code, error)\n"
    )
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/MLmodel").write_text("flavors: {}\n")
    path = os.pathsep.join([str(tmp_path), str(root / "src")])
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{tmp_path}/mlflow.db", (tmp_path / "plain").as_uri()],
        capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.stdout.startswith(
        "PERMISSION_DENIED m version 1 is refused for alias champion: the model carries no seal"
    )


def test_naming_the_plugin_imports_no_mlflow():
    code = "import sys, modelward.vault.mlflow, modelward.vault.mlflow.gate; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
