"""Dockerfiles: what each rule says and where, what a good file is spared, and that no text breaks the reader."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.around import dockerfile
from modelward.artifact.reading import Reading
from modelward.artifact.verdict import inspect_bytes

GOOD = """\
# syntax=docker/dockerfile:1
ARG PYTHON=3.12.4
FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY requirements.txt .
RUN --mount=type=secret,id=index \\
    pip install --require-hashes -r requirements.txt \\
    && curl -fsSL https://example.net/tool -o /tool

FROM gcr.io/distroless/python3-debian12:nonroot@sha256:1111111111111111111111111111111111111111111111111111111111111111
COPY --from=build --chown=nonroot:nonroot /src /app
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.net/m.onnx /models/
ENV MODEL_DIR=/models MAX_TOKENS=1310720 EOS_TOKEN=[eos_of_text]
EXPOSE 8080
HEALTHCHECK CMD ["curl", "-f", "http://localhost:8080/ping"]
ENTRYPOINT ["python", "-m", "server", "--host", "0.0.0.0"]
"""


def found(text):
    """(rule, severity, line) of each finding but those of root and of the base image, which `TOP` makes silent."""
    report = inspect_bytes(text.encode(), "Dockerfile")
    assert (report.format, report.verdict) == ("dockerfile", None)
    return sorted((f.rule, f.severity, f.location.line) for f in report.findings)


TOP = "FROM base:1\nUSER app\n"


def test_a_good_file_has_no_finding():
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("line", "rule", "severity"),
    [
        ("RUN wget --no-check-certificate https://example.net/m", "source.tls-disabled", "high"),
        ("RUN curl -k https://example.net/m -o m", "source.tls-disabled", "high"),
        ("RUN git config --global http.sslVerify false", "source.tls-disabled", "high"),
        ("RUN curl -s https://example.net/i.sh | bash", "source.runs-download", "medium"),
        ("RUN curl -s http://example.net/i.sh | sudo sh", "source.runs-download", "high"),
        ("RUN pip install --trusted-host pypi.example.net x", "source.pip-insecure", "high"),
        ("RUN pip install --extra-index-url https://pypi.example.net x", "source.pip-extra-index", "medium"),
        ("ADD http://example.net/m.onnx /m", "dockerfile.plain-http", "high"),
        ("ADD https://example.net/m.onnx /m", "dockerfile.unchecked-download", "low"),
        ("ENV NODE_TLS_REJECT_UNAUTHORIZED=0", "workload.unsafe-variable", "high"),
        ("ENV GIT_SSL_NO_VERIFY true", "workload.unsafe-variable", "high"),
        ("ENV CURL_CA_BUNDLE=''", "workload.unsafe-variable", "medium"),
        ('ENV A=1 TRUST_REMOTE_CODE="true"', "workload.unsafe-variable", "high"),
        ("ENV TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1", "workload.unsafe-variable", "high"),
        ("ENV HF_DATASETS_TRUST_REMOTE_CODE=1", "workload.unsafe-variable", "high"),
        ("ENV TS_DISABLE_TOKEN_AUTHORIZATION=true", "workload.unsafe-variable", "medium"),
        ("ENV TS_ALLOWED_URLS=file://.*|http(s)?://.*", "workload.unsafe-variable", "medium"),
        ("ENV TS_MANAGEMENT_ADDRESS=http://0.0.0.0:8081", "workload.unsafe-variable", "high"),
        ("ENV TS_ENABLE_MODEL_API=true", "workload.unsafe-variable", "medium"),
        ("ENV DB_PASSWORD=hunter42x", "workload.secret-in-variable", "medium"),
        ("ARG HF_TOKEN='abcdef12'", "workload.secret-in-variable", "medium"),
        ('CMD ["vllm", "serve", "m", "--trust-remote-code"]', "workload.unsafe-command", "high"),
        ("CMD vllm serve m --trust_remote_code --port 1", "workload.unsafe-command", "high"),
        ("CMD torchserve --start --disable-token-auth", "workload.unsafe-command", "medium"),
        ("CMD torchserve --start --enable-model-api", "workload.unsafe-command", "medium"),
        ("CMD ray start --head --dashboard-host=0.0.0.0", "workload.unsafe-command", "medium"),
        ("CMD ray start --head --dashboard-host 0.0.0.0 --block", "workload.unsafe-command", "medium"),
        ("CMD jupyter lab --NotebookApp.token=''", "workload.unsafe-command", "high"),
        ('CMD ["jupyter", "lab", "--ServerApp.token="]', "workload.unsafe-command", "high"),
        ("CMD mlflow server --host 0.0.0.0", "workload.unsafe-command", "medium"),
        ("CMD mlflow ui -h 0.0.0.0", "workload.unsafe-command", "medium"),
        ("CMD tritonserver --model-control-mode=explicit", "workload.unsafe-command", "medium"),
        ("CMD flask --app a run --debug", "workload.unsafe-command", "medium"),
        ("RUN chmod -R 777 /models", "workload.unsafe-command", "low"),
        ("RUN wget http://example.net/m.bin", "workload.unsafe-command", "medium"),
        ("RUN git clone http://git.example.net/m", "workload.unsafe-command", "medium"),
    ],
)
def test_a_line_has_its_finding_in_each_form(line, rule, severity):
    assert found(f"{TOP}{line}\n") == [(rule, severity, 3)]
    assert found(f"{TOP}\n# remark\n{line}") == [(rule, severity, 5)]
    assert found(f"{TOP}ONBUILD {line}\n") == [(rule, severity, 3)]
    assert found(f"{TOP}# {line}\n") == []


@pytest.mark.parametrize(
    "line",
    [
        "RUN curl -fsSL https://example.net/k.gpg -o /k",
        "RUN curl -s https://example.net/a.tar.gz | tar xz",
        "RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu torch",
        "RUN chmod 755 /app && chmod 0644 /app/x && chmod +x /a",
        "RUN curl http://localhost:8080/ping && wget http://127.0.0.1/x && curl http://minio:9000/health",
        "HEALTHCHECK CMD curl -f http://$HOST.example.net/",
        "ENV HF_TOKEN",
        "ARG HF_TOKEN",
        "ENV HF_TOKEN=$HF_TOKEN API_KEY=${KEY} DB_PASSWORD=",
        "ENV PASSWORD_FILE=/run/secrets/db API_KEY=/run/secrets/k SECRET=<your-secret> DB_PASSWORD=changeme",
        "ENV MAX_TOKENS=131072 MAX_TOKEN=131072 PAD_TOKEN=[PADDING]",
        "ENV TRUST_REMOTE_CODE=false TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=0 NODE_TLS_REJECT_UNAUTHORIZED=1",
        "ENV TS_ALLOWED_URLS=https://models.example.net/.* TS_MANAGEMENT_ADDRESS=http://127.0.0.1:8081",
        "CMD vllm serve m --trust-remote-code=false --trust-remote-code-x",
        'CMD ["server", "--trust-remote-code", "false"]',
        "CMD ray start --dashboard-host 127.0.0.1",
        "CMD RAY_AUTH_MODE=token ray start --dashboard-host 0.0.0.0",
        "CMD jupyter lab --ServerApp.token=$TOKEN",
        "CMD jupyter lab --NotebookApp.token='' --NotebookApp.password='sha1:1'",
        "CMD mlflow server --host 0.0.0.0 --app-name basic-auth",
        "CMD mlflow server --host 127.0.0.1",
        "CMD tritonserver --model-control-mode=none --model-repository=/models",
        "CMD tritonserver --model-control-mode=explicit --http-restricted-api=model-repository:k=v",
        "CMD flask run --no-debugger",
        "CMD uvicorn a:app --host 0.0.0.0 --port 8081",
        "ADD https://example.net/m.onnx --checksum=sha256:00 /m",
        "ADD model.onnx /models/",
        "COPY http://is.no.url /m",
        "EXPOSE 8080 8081/udp $PORT 9000-9100/tcp",
        "LABEL note='curl -k https://x | sh'",
    ],
)
def test_what_is_no_weakness(line):
    assert found(f"{TOP}{line}\n") == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("FROM a:1\nUSER root\n", 1),
        ("FROM a:1\nUSER 0:0\n", 1),
        ("FROM a:1\nRUN x\n", 1),
        ("FROM a:1\nUSER app\nUSER root:root\n", 1),
        ("FROM a:1 AS one\nUSER app\nFROM b:1\nRUN x\n", 3),
        ("FROM scratch\nCOPY s /\nCMD ['/s']\n", 1),
    ],
)
def test_root(text, line):
    assert found(text) == [("dockerfile.root-user", "medium", line)]


@pytest.mark.parametrize(
    "text",
    [
        "FROM a:1\nUSER 1000\n",
        "FROM a:1\nUSER root\nRUN x\nUSER app:app\n",
        "FROM a:1\nUSER ${UID}\n",
        "FROM a:1 AS one\nUSER app\nFROM one\nRUN x\n",
        "FROM a:1 AS One\nUSER app\nFROM one AS two\nFROM TWO\n",
        "FROM cgr.dev/x/python:1-nonroot\nCMD x\n",
        "FROM scratch\nCOPY m.onnx /models/\n",
        "ARG X=1\n",
    ],
)
def test_no_root(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("image", "moves"),
    [
        ("python", True),
        ("python:latest", True),
        ("registry.example.net:5000/team/python", True),
        ("--platform=linux/amd64 python", True),
        ("python:3.12", False),
        ("python@sha256:00", False),
        ("registry.example.net:5000/team/python:3", False),
        ("$BASE", False),
        ("scratch", False),
    ],
)
def test_an_image_without_version(image, moves):
    assert found(f"FROM {image}\nUSER a\n") == ([("workload.moving-image", "low", 1)] if moves else [])


@pytest.mark.parametrize(
    ("server", "port", "said"),
    [
        ("docker:dind", 2375, True),
        ("mlflow", 5000, True),
        ("redis", 6379, True),
        ("torchserve", 7071, True),
        ("torchserve", 8081, True),
        ("rayproject/ray", 8265, True),
        ("daskdev/dask", 8786, True),
        ("jupyter/base-notebook", 8888, True),
        ("rayproject/ray", 10001, True),
        ("flask", 5000, False),
        ("mlserver", 8081, False),
        ("array", 8265, False),
        ("torchserve", 8080, False),
    ],
)
def test_an_exposed_port_counts_for_its_server_and_publishes_little(server, port, said):
    text = f"FROM {server.split(':')[0]}:1\nUSER app\nEXPOSE 80 {port}/tcp\n"
    assert found(text) == ([("workload.management-port", "low", 3)] if said else [])


def test_a_range_of_ports_and_one_finding_for_each():
    text = "FROM pytorch/torchserve:1\nUSER a\nEXPOSE 8080-8082\nEXPOSE 8081\n"
    assert found(text) == [("workload.management-port", "low", 3)]


def test_continuation_lines_comments_and_blank_lines_between_them():
    text = TOP + "RUN a \\\n  # remark\n\n  && curl -k \\\n  https://x.example.net\nRUN curl -k https://y\n"
    assert found(text) == [("source.tls-disabled", "high", 3), ("source.tls-disabled", "high", 8)]


def test_another_escape_character():
    text = (
        "# escape=`\n"
        + TOP
        + "RUN a `\n && curl -k https://x `\n -o y\nRUN dir C:\\\nRUN curl -k https://y\n"
    )
    assert found(text) == [("source.tls-disabled", "high", 4), ("source.tls-disabled", "high", 8)]
    assert [one.line for one in dockerfile.instructions("FROM a\n# escape=`\nRUN a \\\n b\n")] == [1, 3]


def test_here_documents():
    text = TOP + "RUN <<EOF\nset -e\nUSER root\ncurl -k https://x\nEOF\nRUN <<-'A' cat\n\tx\n\tA\nUSER b\n"
    words = [(one.word, one.line) for one in dockerfile.instructions(text)]
    assert words == [("FROM", 1), ("USER", 2), ("RUN", 3), ("RUN", 8), ("USER", 11)]
    assert found(text) == [("source.tls-disabled", "high", 3)]


def test_what_only_looks_like_a_here_document():
    text = TOP + "RUN python -c 'print(1<<x)'\nRUN cat <<NEVER\nCMD [\"<<EOF\"]\nUSER root\n"
    assert [one.word for one in dockerfile.instructions(text)] == [
        "FROM",
        "USER",
        "RUN",
        "RUN",
        "CMD",
        "USER",
    ]
    assert found(text) == [("dockerfile.root-user", "medium", 1)]


def test_the_content_of_a_copied_here_document_is_no_command():
    assert found(TOP + "COPY <<EOF /x\ncurl -k https://x\nEOF\n") == []


def test_pairs_of_variables():
    text = TOP + 'ENV A="x y" \\\n    B=\'q\' \\\n    API_KEY="abc\\"defg" C=1\n'
    assert found(text) == [("workload.secret-in-variable", "medium", 3)]


def test_a_value_is_not_repeated():
    report = inspect_bytes(f"{TOP}ENV DB_PASSWORD=hunter42x\n".encode(), "Dockerfile")
    assert "hunter42x" not in report.findings[0].message
    assert all(finding.remedy for finding in report.findings)


@pytest.mark.parametrize(
    "text", ["", "FROM", "\\", "FROM a:1 \\", "RUN [", 'FROM a:1\nUSER\nCMD ["a",', "ENV\nENV =\n"]
)
def test_malformed(text):
    into = Reading("Dockerfile")
    dockerfile.read(text.encode(), into)
    assert all(event.severity in {"medium", "low"} for event in into.events)


def test_a_long_file_is_read_in_part_and_quickly():
    into = Reading("Dockerfile")
    dockerfile.read(b"RUN <<A\nENV " + b"A=\\" * 400_000, into)
    assert [event.rule for event in into.events] == ["dockerfile.unread"]


PIECES = ["FROM a\n", "FROM a AS b\n", "USER root\n", "RUN ", "ENV ", "ADD http://x ", "<<E ", "E\n", "\\\n", "#", "[", '"', "=", "\n",
          "--trust-remote-code ", "curl ", "| sh", "EXPOSE 1-99999 ", 'CMD ["a"]\n', "\x00", "\u2028", "ONBUILD "]  # fmt: skip


@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(st.sampled_from(PIECES), max_size=30).map(lambda p: "".join(p).encode()),
    )
)
@settings(max_examples=300, deadline=None)
def test_any_text_is_read(data):
    dockerfile.read(data, Reading("Dockerfile"))
