"""Compose files: what each rule says and where, what a good file is spared, and that no text breaks the reader."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.around import compose
from modelward.artifact.reading import Exhausted, Reading
from modelward.artifact.verdict import inspect_bytes

GOOD = """\
x-limits: &limits
  deploy:
    resources:
      limits: {memory: 8g, cpus: "2"}
services:
  server:
    <<: *limits
    image: example.net/server:1.4.2
    user: "1000:1000"
    read_only: true
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE]
    command: ["serve", "/models", "--port", "8080"]
    environment:
      API_KEY: ${API_KEY}
      DB_PASSWORD_FILE: /run/secrets/db
      HF_TOKEN:
    ports: ["8080:8080", "127.0.0.1:8081:8081"]
    volumes:
      - ./models:/models:ro
      - type: bind
        source: ./weights
        target: /weights
        read_only: true
      - cache:/cache
  torchserve:
    <<: *limits
    build: .
    ports:
      - {target: 8081, published: 8081, host_ip: 127.0.0.1}
      - "[::1]:7071:7071"
volumes:
  cache: {}
"""


def found(text):
    report = inspect_bytes(text.encode(), "compose.yaml")
    assert (report.format, report.verdict) == ("compose", None)
    return sorted((f.rule, f.severity, f.location.line) for f in report.findings)


def service(line, name="model"):
    """A service that has no other finding; the line stands in line 5."""
    return f"services:\n  {name}:\n    image: x:1\n    mem_limit: 1g\n    {line}\n"


def test_a_good_file_has_no_finding():
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("line", "rule", "severity"),
    [
        ("privileged: true", "workload.host-access", "high"),
        ("cap_add: [SYS_ADMIN]", "workload.host-access", "high"),
        ("cap_add: [CAP_SYS_MODULE, NET_RAW]", "workload.host-access", "high"),
        ("cap_add: [all]", "workload.host-access", "high"),
        ("network_mode: host", "workload.host-access", "medium"),
        ("pid: host", "workload.host-access", "medium"),
        ("ipc: host", "workload.host-access", "low"),
        ("user: root", "compose.root-user", "medium"),
        ('user: "0:0"', "compose.root-user", "medium"),
        ("command: vllm serve m --trust-remote-code", "workload.unsafe-command", "high"),
        ("command: [jupyter, lab, --ServerApp.token=]", "workload.unsafe-command", "high"),
        ("entrypoint: [sh, -c, 'curl -k https://x | tar x']", "source.tls-disabled", "high"),
        ("environment: {TRUST_REMOTE_CODE: 'true'}", "workload.unsafe-variable", "high"),
        ("environment: [TRUST_REMOTE_CODE=true]", "workload.unsafe-variable", "high"),
        ("environment: {POSTGRES_PASSWORD: hunter42}", "workload.secret-in-variable", "medium"),
        ("environment: ['MINIO_SECRET_KEY=x', 'HF_TOKEN=abcdef']", "workload.secret-in-variable", "medium"),
        ("volumes: [/var/run/docker.sock:/var/run/docker.sock:ro]", "workload.host-path", "high"),
        ("volumes: ['/:/host']", "workload.host-path", "high"),
        ("volumes: ['/:/host:ro']", "workload.host-path", "medium"),
        ("volumes: [{type: bind, source: /etc, target: /x}]", "workload.host-path", "high"),
        ("volumes: ['./m:/models']", "workload.writable-models", "medium"),
        ("volumes: ['./m:/srv/model-repository:z']", "workload.writable-models", "medium"),
        ("volumes: [{type: volume, source: m, target: /opt/weights}]", "workload.writable-models", "medium"),
    ],
)
def test_a_line_has_its_finding(line, rule, severity):
    assert found(service(line)) == [(rule, severity, 5)]


@pytest.mark.parametrize(
    "line",
    [
        "privileged: false",
        "privileged: maybe",
        "cap_add: [NET_ADMIN, SYS_PTRACE]",
        "network_mode: bridge",
        "user: app",
        'user: "1000"',
        "environment: {HF_TOKEN: , API_KEY: ~, MAX_TOKENS: 131072}",
        "environment: [HF_TOKEN, 'API_KEY=${KEY:?}', 'PASSWORD=']",
        "volumes: ['./m:/models:z,ro', './etc:/x', data:/data, /models-old]",
        "volumes: ['/etc/localtime:/etc/localtime:ro', '/dev/shm:/dev/shm']",
        "command: [vllm, serve, m, --trust-remote-code=false]",
        "ports: ['8081:8081']",
        "expose: [8081]",
    ],
)
def test_what_is_no_weakness(line):
    assert found(service(line)) == []


@pytest.mark.parametrize(
    "port",
    ["'8081:8081'", "'9000:8081'", "8081", "'0.0.0.0:8081:8081/tcp'", "'8080-8082:8080-8082'", "'${P:-1}:8081'",
     "{target: 8081, published: 9000}", "{target: 8081}"],
)  # fmt: skip
def test_a_port_of_management(port):
    assert found(service(f"ports: [{port}]", "torchserve")) == [("workload.management-port", "high", 5)]


@pytest.mark.parametrize(
    "port",
    ["'127.0.0.1:8081:8081'", "'localhost:8081:8081'", "'[::1]:8081:8081'", "'8081:8080'", "'8081:8081/udp'", "'8081:${P}'",
     "{target: 8081, host_ip: 127.0.0.1}", "[]", "'1:99999999'"],
)  # fmt: skip
def test_no_port_of_management(port):
    assert found(service(f"ports: [{port}]", "torchserve")) == []


@pytest.mark.parametrize(
    ("name", "words", "port", "severity"),
    [
        ("mlflow", "x", 5000, "medium"),
        ("mlflow", "mlflow server --app-name basic-auth", 5000, None),
        ("web", "flask run", 5000, None),
        ("redis", "redis-server", 6379, "medium"),
        ("redis", "redis-server --requirepass x", 6379, None),
        ("a", "ray start --head", 8265, "high"),
        ("a", "dask scheduler", 8786, "high"),
        ("jupyter", "x", 8888, "medium"),
        ("docker", "dockerd", 2375, "high"),
    ],
)
def test_a_port_counts_for_its_server_without_a_login(name, words, port, severity):
    rules = found(service(f"command: {words}\n    ports: ['{port}:{port}']", name))
    assert rules == ([("workload.management-port", severity, 6)] if severity else [])


def test_limits():
    none = "services:\n  a: {image: 'x:1'}\n  b: {image: 'x:1', deploy: {resources: {limits: {cpus: '1'}}}}\n"
    assert found(none) == [("compose.no-limits", "low", 2), ("compose.no-limits", "low", 3)]
    given = "services:\n  a: {image: 'x:1', mem_limit: 1g}\n  b: {extends: {service: a}}\n"
    assert found(given) == []


def test_an_image_without_version():
    text = "services:\n  a:\n    mem_limit: 1g\n    image: x\n  b:\n    mem_limit: 1g\n    build: .\n"
    assert found(text) == [("workload.moving-image", "low", 4)]


def test_merged_keys_count_and_own_ones_go_before_them():
    text = (
        "x: &one {privileged: true, image: 'x:1', mem_limit: 1g}\ny: &two {user: root}\nservices:\n"
        "  a:\n    <<: [*one, *two]\n    privileged: false\n  b:\n    <<: *one\n"
    )
    assert found(text) == [("compose.root-user", "medium", 2), ("workload.host-access", "high", 1)]


def test_the_first_of_several_merged_goes_before_the_later():
    text = "a: &a {user: app}\nb: &b {user: root}\nservices:\n  s:\n    <<: [*a, *b]\n    image: x:1\n    mem_limit: 1g\n"
    assert found(text) == []
    assert found(text.replace("[*a, *b]", "[*b, *a]")) == [("compose.root-user", "medium", 2)]


def test_malformed_yaml_is_said():
    assert found("services:\n  a: [\n") == [("compose.unreadable", "low", None)]


@pytest.mark.parametrize(
    "text",
    ["services: 1", "services: []", "services: {a: 1, b: [x], ? [c] : {}}", "services: {a: {ports: {a: 1}, volumes: x}}",
     "services: {a: {environment: 1, deploy: [], cap_add: {}, command: {}}}", "services: &s {a: *s}", "services: &s {<<: *s}"],
)  # fmt: skip
def test_odd_shapes_are_passed_over(text):
    into = Reading("compose.yaml")
    compose.read(text.encode(), into)
    assert {event.severity for event in into.events} <= {"low"}


def test_merges_that_multiply_are_bounded():
    bomb = "a0: &a0 {k: v}\n" + "".join(
        f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 20)}]}}\n" for i in range(1, 12)
    )
    into = Reading("compose.yaml")
    compose.read(f"{bomb}services:\n  s:\n    <<: *a11\n".encode(), into)
    assert [event.rule for event in into.events] == ["compose.no-limits"]


def test_one_service_named_often_is_bounded():
    shared = "x: &x {command: '" + "curl " * 800 + "'}\nservices:\n"
    with pytest.raises(Exhausted):
        compose.read(
            (shared + "".join(f"  s{i}: *x\n" for i in range(5000))).encode(), Reading("compose.yaml")
        )


KEYS = st.sampled_from(
    [
        "services",
        "image",
        "ports",
        "volumes",
        "environment",
        "command",
        "deploy",
        "resources",
        "limits",
        "memory",
        "<<",
        "cap_add",
        "user",
        "a",
    ]
)
VALUES = st.recursive(
    st.sampled_from(
        ["x", "8081:8081", "/:/", "root", "true", "null", "1", "host", "ALL", "PASSWORD=abcdefg"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(st.text("ab", max_size=2), VALUES, max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_shape_is_read(services):
    import json

    compose.read(json.dumps({"services": services}).encode(), Reading("compose.yaml"))


@given(
    st.one_of(st.binary(max_size=200), st.text("services:\n -{}[]&*<'\"ax!%,", max_size=80).map(str.encode))
)
@settings(max_examples=200, deadline=None)
def test_any_text_is_read(data):
    compose.read(data, Reading("compose.yaml"))
