"""What containers have in common: each variable, option, port, mount and capability, with a harmless one beside it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.around import workload
from modelward.artifact.around.workload import ESCAPES, PORTS, management, numbers
from modelward.artifact.reading import Exhausted, Reading


def found(call, *arguments, **named):
    into = Reading()
    call(*arguments, 7, into, **named)
    assert all(event.line == 7 and event.remedy for event in into.events)
    return [(event.rule, event.severity) for event in into.events]


IMAGES = [
    ("python", True),
    ("python:latest", True),
    ("registry:5000/python", True),
    ("registry:5000/a/b:latest", True),
    ("python:3.12", False),
    ("registry:5000/python:3.12", False),
    ("python@sha256:" + "0" * 64, False),
    ("python:latest@sha256:" + "0" * 64, False),
    ("$IMAGE", False),
    ("a/${IMAGE}", False),
    ("{{ .Values.image }}", False),
    ("scratch", False),
    ("", False),
]


@pytest.mark.parametrize(("name", "moves"), IMAGES)
def test_images(name, moves):
    assert found(workload.image, name) == ([("workload.moving-image", "low")] if moves else [])


UNSAFE = [
    ("CURL_CA_BUNDLE", "", "medium"),
    ("CURL_CA_BUNDLE", "/etc/ca.pem", None),
    ("GIT_SSL_NO_VERIFY", "1", "high"),
    ("GIT_SSL_NO_VERIFY", "no", "high"),
    ("GIT_SSL_NO_VERIFY", "", None),
    ("NODE_TLS_REJECT_UNAUTHORIZED", "0", "high"),
    ("NODE_TLS_REJECT_UNAUTHORIZED", "1", None),
    ("TRUST_REMOTE_CODE", "true", "high"),
    ("TRUST_REMOTE_CODE", "True", "high"),
    ("trust_remote_code", "1", "high"),
    ("TRUST_REMOTE_CODE", "false", None),
    ("TRUST_REMOTE_CODE", "10", None),
    ("HF_DATASETS_TRUST_REMOTE_CODE", "on", "high"),
    ("HF_DATASETS_TRUST_REMOTE_CODE", "off", None),
    ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "y", "high"),
    ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0", None),
    ("TS_MANAGEMENT_ADDRESS", "http://0.0.0.0:8081", "high"),
    ("TS_MANAGEMENT_ADDRESS", "https://[::]:8444/", "high"),
    ("TS_MANAGEMENT_ADDRESS", "http://127.0.0.1:8081", None),
    ("TS_ALLOWED_URLS", ".*", "medium"),
    ("TS_ALLOWED_URLS", "file://.*|http(s)?://.*", "medium"),
    ("TS_ALLOWED_URLS", "https://models\\.example/.*", None),
    ("TS_DISABLE_TOKEN_AUTHORIZATION", "true", "medium"),
    ("TS_DISABLE_TOKEN_AUTHORIZATION", "false", None),
    ("TS_ENABLE_MODEL_API", "TRUE", "medium"),
    ("TS_ENABLE_MODEL_API", "", None),
    ("CURL_CA_BUNDLE", '""', "medium"),
    ("TRUST_REMOTE_CODE", "'true'", "high"),
]


@pytest.mark.parametrize(("name", "value", "severity"), UNSAFE)
def test_variables_that_switch_a_protection_off(name, value, severity):
    expected = [("workload.unsafe-variable", severity)] if severity else []
    assert found(workload.variable, name, value) == expected


def test_every_variable_is_tried_both_ways():
    tried = {(name.upper(), severity is None) for name, _, severity in UNSAFE}
    assert {name for name, quiet in tried if quiet} == {name for name, quiet in tried if not quiet}
    assert {name for name, _ in tried} == set(workload._VARIABLES)


SECRETS = [
    ("DB_PASSWORD", "hunter22", True),
    ("db.password", "hunter22", True),
    ("HF_TOKEN", "hf_abcdef", True),
    ("API_KEY", "abcdef1", True),
    ("apiKey", "abcdef1", True),
    ("MY-SECRET", "abcdef1", True),
    ("AWS_SECRET_ACCESS_KEY", "abcdef1", True),
    ("accountKey", "abcdef1", True),
    ("GIT_CREDENTIALS", "abcdef1", True),
    ("PASSPHRASE", "correct1", True),
    ("DB_PASSWORD", "short", False),
    ("DB_PASSWORD", "sixsix", True),
    ("DB_PASSWORD", "${PASSWORD}", False),
    ("DB_PASSWORD", "$PASSWORD", False),
    ("DB_PASSWORD", "{{ secret }}", False),
    ("DB_PASSWORD", "<password>", False),
    ("DB_PASSWORD", "two words", False),
    ("DB_PASSWORD", "changeme", False),
    ("DB_PASSWORD", "xxxxxxxx", False),
    ("DB_PASSWORD", "********", False),
    ("DB_PASSWORD_FILE", "secret12", False),
    ("DB_PASSWORD", "/run/secrets/db", False),
    ("DB_PASSWORD", "file:secret", False),
    ("DB_PASSWORD", "vault://a/b", False),
    ("EOS_TOKEN", "endoftext", False),
    ("pad_token", "padding", False),
    ("MAX_TOKENS", "1000000", False),
    ("PUBLIC_KEY", "abcdef1", False),
    ("TOKENIZER", "abcdef1", False),
    ("MONKEY", "abcdef1", False),
    ("KEYBOARD", "abcdef1", False),
]


@pytest.mark.parametrize(("name", "value", "secret"), SECRETS)
def test_values_that_are_secret(name, value, secret):
    assert found(workload.variable, name, value) == (
        [("workload.secret-in-variable", "medium")] if secret else []
    )


def test_a_secret_is_never_repeated():
    into = Reading()
    workload.variable("DB_PASSWORD", "hunter22", 1, into)
    assert "hunter22" not in str(into.events)


# --- commands -----------------------------------------------------------------------------------------------

UNSAFE_COMMANDS = [
    ("vllm serve m --trust-remote-code", "high"),
    ("python serve.py --trust_remote_code=true", "high"),
    ("vllm serve m --trust-remote-code --port 1", "high"),
    ("vllm serve m --trust-remote-code=false", None),
    ("vllm serve m --trust-remote-code 0", None),
    ("vllm serve m --trust-remote-code-check", None),
    ("torchserve --start --disable-token-auth", "medium"),
    ("torchserve --disable-token", "medium"),
    ("other --disable-token-auth", None),
    ("torchserve --start --enable-model-api", "medium"),
    ("torchserve --start", None),
    ("ray start --head --dashboard-host=0.0.0.0", "medium"),
    ("ray start --head --dashboard-host ::", "medium"),
    ("ray start --head --dashboard-host=127.0.0.1", None),
    ("RAY_AUTH_MODE=token ray start --dashboard-host=0.0.0.0", None),
    ("ray  start --dashboard-host='0.0.0.0'", "medium"),
    ("jupyter lab --NotebookApp.token=''", "high"),
    ("jupyter notebook --ServerApp.token=", "high"),
    ("jupyter lab --ServerApp.token='' --ServerApp.password=argon2:x", None),
    ("jupyter lab --ServerApp.token=abc", None),
    ("mlflow server --host 0.0.0.0", "medium"),
    ("mlflow ui -h 0.0.0.0", "medium"),
    ("mlflow server --host 0.0.0.0 --app-name basic-auth", None),
    ("mlflow server --host 127.0.0.1", None),
    ("mlflow run --host 0.0.0.0", None),
    ("tritonserver --model-control-mode=explicit", "medium"),
    ("tritonserver --model-control-mode=explicit --http-restricted-api=model-repository:k=v", None),
    ("tritonserver --model-control-mode=none", None),
    ("flask run --debug", "medium"),
    ("flask run --debugger-off", None),
    ("chmod 777 /models", "low"),
    ("chmod -R a+rwx /models", "low"),
    ("chmod o+w x", "low"),
    ("chmod 755 /models", None),
    ("curl -O http://example.com/a", "medium"),
    ("wget http://example.com/a", "medium"),
    ("git clone http://example.com/a", "medium"),
    ("curl http://localhost:8080/ping", None),
    ("curl http://127.0.0.1/ping", None),
    ("curl http://service:8080/ping", None),
    ("curl http://169.254.169.254/", None),
    ("curl https://example.com/a", None),
]


@pytest.mark.parametrize(("text", "severity"), UNSAFE_COMMANDS)
def test_commands(text, severity):
    assert found(workload.command, text) == ([("workload.unsafe-command", severity)] if severity else [])


@pytest.mark.parametrize("text", [row[0] for row in UNSAFE_COMMANDS if row[1]])
@pytest.mark.parametrize("between", ["cd /x && {}", "{} ; ls", "a\n{}\nb"])
def test_a_command_among_others(text, between):
    assert [rule for rule, _ in found(workload.command, between.format(text))] == ["workload.unsafe-command"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("curl -k https://h/x", "source.tls-disabled"),
        ("curl https://h/x | sh", "source.runs-download"),
        ("pip install --trusted-host h a", "source.pip-insecure"),
        ("pip install a --extra-index-url https://h/simple", "source.pip-extra-index"),
    ],
)
def test_rules_of_shells_count_too(text, rule):
    assert [name for name, _ in found(workload.command, text)] == [rule]


def test_the_same_is_said_once_and_shown_short():
    into = Reading()
    workload.command("chmod 777 a && chmod 777 b\nchmod 777 " + "c" * 500, 1, into)
    (event,) = into.events
    assert event.message.endswith(": chmod 777 a")


def test_a_command_costs_steps(monkeypatch):
    from modelward.artifact import reading

    monkeypatch.setattr(reading, "STEPS", 20 * 4096 * 3)
    workload.command("x" * 100_000, 1, Reading())
    with pytest.raises(Exhausted):
        workload.command(";".join(["x" * 5000] * 4), 1, Reading())


# --- ports, mounts, capabilities ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("8080", [8080]),
        ("8080/tcp", [8080]),
        (" 8080/TCP ", [8080]),
        ("8080-8082", [8080, 8081, 8082]),
        ("8080-8082/tcp", [8080, 8081, 8082]),
        ("8082-8080", []),
        ("8080/udp", []),
        ("$PORT", []),
        ("", []),
        ("123456", []),
        ("-1", []),
        ("\u0661", []),
    ],
)
def test_ports(text, ports):
    assert list(numbers(text)) == ports


MANAGED = {
    2375: ("docker:dind", ""),
    5000: ("mlflow server", "--app-name basic-auth"),
    6379: ("image redis:7", "--requirepass x"),
    7071: ("pytorch/torchserve", ""),
    8081: ("TorchServe --start", ""),
    8265: ("rayproject/ray:2", ""),
    8786: ("daskdev/dask", ""),
    8888: ("jupyter/base-notebook", ""),
    10001: ("ray start --head", ""),
}


@pytest.mark.parametrize("port", PORTS, ids=lambda port: str(port.number))
def test_each_port_of_management(port):
    context, login = MANAGED[port.number]
    assert port in management(context)
    assert port not in management("nginx array tray xray")
    assert bool(login) == bool(port.unless)
    if login:
        assert port not in management(f"{context} {login}")
    into = Reading()
    workload.published(port, "to everyone", 3, into, severity=port.severity)
    assert str(port.number) in into.events[0].message


@pytest.mark.parametrize(
    ("path", "models"),
    [
        ("/models", True),
        ("/srv/model/", True),
        ("/model-store", True),
        ("/data/model_repository/x", True),
        ("/weights", True),
        ("/MODELS", True),
        ("/modelling", False),
        ("/data", False),
        ("/remodels", False),
        ("", False),
    ],
)
def test_folders_of_models(path, models):
    assert found(workload.mount, path) == ([("workload.writable-models", "medium")] if models else [])


@pytest.mark.parametrize(
    ("path", "writable", "read_only"),
    [
        ("/", "high", "medium"),
        ("/etc", "high", "medium"),
        ("/etc/", "high", "medium"),
        ("/home", "high", "medium"),
        ("/var/lib/kubelet", "high", "medium"),
        ("/var/run", "high", "medium"),
        ("/proc", "high", "medium"),
        ("/var/run/docker.sock", "high", "high"),
        ("/run/containerd/containerd.sock", "high", "high"),
        ("/etc/ssl/certs", None, None),
        ("/data", None, None),
        ("/homes", None, None),
        ("relative", None, None),
    ],
)
def test_folders_of_the_host(path, writable, read_only):
    for severity, only in ((writable, False), (read_only, True)):
        expected = [("workload.host-path", severity)] if severity else []
        assert found(workload.host_path, path, read_only=only) == expected


@pytest.mark.parametrize("name", sorted(ESCAPES))
def test_each_capability_that_gives_the_host(name):
    for spelled in (name, name.lower(), f"CAP_{name}", f"cap_{name}"):
        assert found(workload.capabilities, "web", [spelled, "CHOWN"]) == [("workload.host-access", "high")]
    assert found(workload.capabilities, "web", ["NET_ADMIN", "CHOWN"]) == []
    assert found(workload.capabilities, "web", []) == []


@settings(deadline=None)
@given(st.text("ab -=/:;&|.$'\"\n0", max_size=60), st.text("ab_=-.", max_size=12))
def test_any_text_is_read(text, name):
    into = Reading()
    workload.command(text, None, into)
    workload.variable(name, text, None, into)
    workload.image(text, None, into)
    workload.host_path(text, None, into, read_only=False)
    workload.mount(text, None, into)
    assert all(event.level == "note" and event.severity for event in into.events)
