"""Kubernetes manifests: what each rule says and where, what good ones are spared, and that no text breaks the reader."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.around import kubernetes
from modelward.artifact.reading import Reading
from modelward.artifact.verdict import inspect_bytes

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: server}
spec:
  template:
    spec:
      automountServiceAccountToken: false
      securityContext:
        runAsNonRoot: true
        runAsUser: 1000
        seccompProfile: {type: RuntimeDefault}
      initContainers:
        - name: download
          image: example.net/fetch:2.1
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true}
          volumeMounts: [{name: models, mountPath: /models}]
      containers:
        - name: server
          image: example.net/server@sha256:00
          args: [--port, "8080"]
          env:
            - {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hub, key: token}}}
            - {name: API_KEY, value: $(OTHER)}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}
          resources: {limits: {memory: 8Gi, cpu: "2"}}
          volumeMounts:
            - {name: models, mountPath: /models, readOnly: true}
            - {name: settings, mountPath: /etc/models}
            - {name: claim, mountPath: /weights}
      volumes:
        - {name: models, emptyDir: {sizeLimit: 8Gi}}
        - {name: settings, configMap: {name: settings}}
        - {name: claim, persistentVolumeClaim: {claimName: m, readOnly: true}}
---
apiVersion: v1
kind: Service
metadata: {name: torchserve}
spec:
  type: LoadBalancer
  ports: [{port: 8080, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: torchserve-management}
spec: {ports: [{port: 8081}]}
---
apiVersion: v1
kind: Service
metadata:
  name: torchserve-inside
  annotations: {networking.gke.io/load-balancer-type: Internal}
spec: {type: LoadBalancer, ports: [{port: 8081}]}
"""
KSERVE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: flowers}
spec:
  predictor:
    serviceAccountName: reader
    model:
      modelFormat: {name: tensorflow}
      storageUri: gs://bucket/models/flowers
"""
POD = """\
apiVersion: v1
kind: Pod
spec:
  securityContext: {runAsNonRoot: true}
  %s
  containers:
    - name: model
      image: x:1
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true%s}
      resources: {limits: {memory: 1Gi}}
      %s
"""


def found(text, name="a.yaml"):
    report = inspect_bytes(text.encode(), name)
    assert (report.format, report.verdict) == ("kubernetes", None)
    return sorted((f.rule, f.severity, f.location.line) for f in report.findings)


def pod(*, shared="", context="", line=""):
    """A pod that has no other finding; `shared` stands in line 5, `context` in 9 and `line` in 11."""
    return POD % (shared, context and f", {context}", line)


@pytest.mark.parametrize("text", [DEPLOYMENT, KSERVE, pod()])
def test_good_manifests_have_no_finding(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("line", "rule", "severity"),
    [
        ("args: [serve, --trust-remote-code]", "workload.unsafe-command", "high"),
        ("command: [sh, -c, 'curl -s https://x | bash']", "source.runs-download", "medium"),
        ("command: [tritonserver, --model-control-mode=explicit]", "workload.unsafe-command", "medium"),
        ("env: [{name: TRUST_REMOTE_CODE, value: 'true'}]", "workload.unsafe-variable", "high"),
        ("env: [{name: CURL_CA_BUNDLE, value: ''}]", "workload.unsafe-variable", "medium"),
        ("env: [{name: HF_TOKEN, value: abcdefg}]", "workload.secret-in-variable", "medium"),
        ("volumeMounts: [{name: m, mountPath: /mnt/models}]", "workload.writable-models", "medium"),
        (
            "volumeMounts: [{name: m, mountPath: /srv/model-store/x, readOnly: false}]",
            "workload.writable-models",
            "medium",
        ),
    ],
)
def test_a_line_of_a_container(line, rule, severity):
    assert found(pod(line=line)) == [(rule, severity, 11)]


@pytest.mark.parametrize(
    ("context", "rule", "severity"),
    [
        ("privileged: true", "workload.host-access", "high"),
        ("capabilities: {add: [SYS_ADMIN]}", "workload.host-access", "high"),
        ("capabilities: {add: [ALL]}", "workload.host-access", "high"),
        ("runAsUser: 0", "kubernetes.root-user", "medium"),
        ("runAsNonRoot: false", "kubernetes.root-user", "medium"),
    ],
)
def test_a_security_context(context, rule, severity):
    assert found(pod(context=context)) == [(rule, severity, 9)]


@pytest.mark.parametrize(
    "context",
    [
        "privileged: false",
        "capabilities: {add: [NET_ADMIN, SYS_PTRACE]}",
        "runAsUser: 1000",
        "runAsNonRoot: true",
    ],
)
def test_a_harmless_security_context(context):
    assert found(pod(context=context)) == []


@pytest.mark.parametrize("key", ["hostNetwork", "hostPID", "hostIPC"])
def test_namespaces_of_the_host(key):
    assert found(pod(shared=f"{key}: true")) == [("workload.host-access", "medium", 4)]
    assert found(pod(shared=f"{key}: false")) == []


@pytest.mark.parametrize(
    ("path", "mount", "severity"),
    [
        ("/", "{name: h, mountPath: /x}", "high"),
        ("/", "{name: h, mountPath: /x, readOnly: true}", "medium"),
        ("/etc/", "{name: h, mountPath: /x}", "high"),
        ("/var/run/docker.sock", "{name: h, mountPath: /x, readOnly: true}", "high"),
        ("/run/containerd/containerd.sock", "{name: h, mountPath: /x}", "high"),
        ("/data/models", "{name: h, mountPath: /x}", None),
        ("/dev/shm", "{name: h, mountPath: /x}", None),
    ],
)
def test_folders_of_the_host(path, mount, severity):
    text = pod(shared=f"volumes: [{{name: h, hostPath: {{path: {path}}}}}]", line=f"volumeMounts: [{mount}]")
    assert found(text) == ([("workload.host-path", severity, 5)] if severity else [])


@pytest.mark.parametrize(
    "source", ["configMap: {}", "secret: {}", "image: {}", "csi: {readOnly: true}", "projected: {}"]
)
def test_volumes_that_nobody_writes(source):
    mount = "volumeMounts: [{name: m, mountPath: /models}]"
    assert found(pod(shared=f"volumes: [{{name: m, {source}}}]", line=mount)) == []
    assert found(pod(shared="volumes: [{name: m, emptyDir: {}}]", line=mount)) == [
        ("workload.writable-models", "medium", 11)
    ]


def test_what_trains_writes_models():
    text = pod(line="volumeMounts: [{name: m, mountPath: /models}]")
    assert found(text.replace("kind: Pod", "kind: PyTorchJob")) == []


def test_a_bare_container_has_everything():
    text = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    image: x\n"
    assert found(text) == [
        ("kubernetes.no-limits", "medium", 5),
        ("kubernetes.root-user", "medium", 5),
        ("kubernetes.writable-container", "low", 5),
        ("workload.moving-image", "low", 6),
    ]


@pytest.mark.parametrize("missing", ["allowPrivilegeEscalation: false", "readOnlyRootFilesystem: true"])
def test_a_writable_container(missing):
    text = pod().replace(missing, "procMount: Default")
    assert found(text) == [("kubernetes.writable-container", "low", 9)]


def test_limits_of_the_pod_count_and_those_of_cpu_alone_do_not():
    without = pod().replace("limits: {memory: 1Gi}", "limits: {cpu: 1}")
    assert found(without) == [("kubernetes.no-limits", "medium", 7)]
    assert (
        found(without.replace("  containers:", "  resources: {limits: {memory: 1Gi}}\n  containers:")) == []
    )


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("CronJob", ["spec", "jobTemplate", "spec", "template", "spec"]),
        ("InferenceService", ["spec", "predictor"]),
        ("SeldonDeployment", ["spec", "predictors", 0, "componentSpecs", 0, "spec"]),
        ("RayCluster", ["spec", "workerGroupSpecs", 0, "template", "spec"]),
        ("PyTorchJob", ["spec", "pytorchReplicaSpecs", "Master", "template", "spec"]),
        ("ServingRuntime", ["spec"]),
        ("List", ["items", 0, "spec"]),
    ],
)
def test_pods_are_found_in_each_kind(kind, path):
    node = {"containers": [{"name": "a", "image": "x:1", "securityContext": {"privileged": True}}]}
    for step in reversed(path):
        node = [node] if step == 0 else {step: node}
    text = json.dumps({"apiVersion": "v1", "kind": kind, **node}, indent=1)
    assert ("workload.host-access", "high") in {rule[:2] for rule in found(text, "a.json")}


def test_a_schema_holds_no_pod():
    schema = {"spec": {"schema": {"containers": {"type": "array"}, "initContainers": [{"name": 1}]}}}
    assert (
        found(json.dumps({"apiVersion": "v1", "kind": "CustomResourceDefinition", **schema}), "a.json") == []
    )


@pytest.mark.parametrize("key", ["storageUri", "modelUri"])
def test_a_model_from_a_plain_connection(key):
    text = KSERVE.replace("storageUri: gs://bucket", f"{key}: http://example.net")
    assert found(text) == [("kubernetes.plain-http", "high", 8)]
    assert found(text.replace("http:", "https:")) == []


@pytest.mark.parametrize(
    ("spec", "severity"),
    [
        ("{type: LoadBalancer, ports: [{port: 8081}]}", "high"),
        ("{type: NodePort, ports: [{port: 80, targetPort: 7071}]}", "high"),
        ("{type: NodePort, ports: [{port: 80, targetPort: management}]}", None),
        ("{type: ClusterIP, ports: [{port: 8081}]}", None),
        ("{ports: [{port: 8081}]}", None),
        ("{type: LoadBalancer, ports: [{port: 8080}]}", None),
        ("{type: LoadBalancer}", None),
    ],
)
def test_services(spec, severity):
    text = f"apiVersion: v1\nkind: Service\nmetadata: {{name: torchserve}}\nspec: {spec}\n"
    assert found(text) == ([("workload.management-port", severity, 4)] if severity else [])
    assert found(text.replace("torchserve", "other")) == []


def test_values_of_secrets():
    text = "apiVersion: v1\nkind: Secret\nstringData:\n  a: hunter\n  b: ${B}\n  c: <here>\n  d: ''\ndata:\n  e: aGk=\n"
    rule = ("kubernetes.secret-in-manifest", "medium")
    assert found(text) == [(*rule, 4), (*rule, 9)]
    assert found("apiVersion: v1\nkind: Secret\ntype: Opaque\n") == []
    assert found(text.replace("kind: Secret", "kind: ConfigMap")) == []


def test_a_template_is_no_mistake_and_damage_is():
    head = "apiVersion: v1\nkind: Pod\n"
    assert found(f"{head}spec: {{{{- if .x }}}}\n  a: 1\n {{{{ end }}}}\n") == [
        ("kubernetes.template", "info", None)
    ]
    assert found(f"{head}spec: [\n") == [("kubernetes.unreadable", "low", None)]


def test_several_documents_have_their_own_lines():
    text = f"{pod()}---\n{pod(context='privileged: true')}"
    assert found(text) == [("workload.host-access", "high", 9 + 1 + len(pod().splitlines()))]


def test_a_cycle_of_aliases_ends():
    into = Reading("a.yaml")
    kubernetes.read(b"kind: Pod\nspec: &s {containers: [{name: a, env: *s}], volumes: *s, x: *s}\n", into)
    assert {event.severity for event in into.events} <= {"medium", "low"}


KEYS = st.sampled_from(
    ["kind", "spec", "containers", "initContainers", "name", "image", "env", "value", "volumes", "volumeMounts", "hostPath", "path",
     "securityContext", "capabilities", "add", "ports", "port", "type", "metadata", "annotations", "items", "args", "stringData", "storageUri"]
)  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(
        [
            "Pod",
            "Service",
            "Secret",
            "List",
            "LoadBalancer",
            "torchserve",
            "8081",
            "x",
            "/",
            "http://a",
            None,
            True,
            0,
        ]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)


@given(st.dictionaries(KEYS, VALUES, max_size=6))
@settings(max_examples=250, deadline=None)
def test_any_shape_is_read(content):
    kubernetes.read(json.dumps(content).encode(), Reading("a.json"))


@given(st.one_of(st.binary(max_size=200), st.text("kind: Pod\n-{}[]&*<'\"!%,", max_size=80).map(str.encode)))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read(data):
    kubernetes.read(data, Reading("a.yaml"))
