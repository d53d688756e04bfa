"""A real PostgreSQL server for the tests of this folder, on loopback and a Unix socket, gone afterwards."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

NOBODY = 65534
SECRET = "open sesame: 7\\8"  # noqa: S105 -- of a server that lives as long as the test
CONFIGURED = (
    "fsync=off", "max_connections=30", "shared_buffers=8MB", "log_min_messages=fatal", "dynamic_shared_memory_type=mmap",
)  # fmt: skip


class Postgres(NamedTuple):
    """A server that runs."""

    socket: Path
    port: int
    user: str

    def url(self, database):
        """By the socket, where the server asks for no password."""
        return f"postgresql://{self.user}@:{self.port}/{database}?host={quote(str(self.socket))}"

    def by_network(self, database, secret=None, **query):
        """By loopback, where it does."""
        login = self.user if secret is None else f"{self.user}:{quote(secret, safe='')}"
        said = "&".join(f"{name}={value}" for name, value in query.items())
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}{'?' + said if said else ''}"

    @property
    def secret(self):
        """What it asks for by the network."""
        return SECRET

    def connect(self, database="postgres"):
        """A connection of the tests' own."""
        from pg8000.native import Connection

        return Connection(self.user, unix_sock=f"{self.socket}/.s.PGSQL.{self.port}", database=database)


@pytest.fixture
def root():
    """The repository."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def server():
    pytest.importorskip("pg8000", reason="the extra [postgres] is not installed")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(path) for path in [shutil.which("initdb")] if path
    ]
    if not found:
        pytest.skip("there is no PostgreSQL server on this machine")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    user = {}
    if os.getuid() == 0:  # the server refuses to run as root
        os.chown(folder, NOBODY, NOBODY)
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    running = _start(found[-1].parent, folder, user)
    try:
        yield running[1]
    finally:
        running[0].terminate()
        running[0].wait(20)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def databases(server):
    """A database for all tests, one after the other: making one for each costs more than the tests."""
    connection = server.connect()
    connection.run("CREATE DATABASE ledger")
    connection.close()
    return "ledger"


@pytest.fixture
def database(server, databases):
    """The name of a database without tables, to which nobody is connected."""
    connection = server.connect(databases)
    connection.run(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = :name AND pid <> pg_backend_pid()",
        name=databases,
    )
    connection.run("DROP TABLE IF EXISTS modelward_leaf, modelward_head")
    connection.close()
    return databases


@pytest.fixture
def url(server, database):
    return server.url(database)


def _start(binaries, folder, user):
    data = folder / "data"
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o644)
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "HOME": str(folder)}
    made = subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "audit", "-A", "trust", "--auth-host=scram-sha-256",
         "--pwfile", folder / "secret", "-E", "UTF8", "--no-sync", "--no-instructions"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, **user,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"initdb does not work here: {made.stderr[-300:]}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"-c{option}" for option in CONFIGURED]
    process = subprocess.Popen(
        [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, *options],
        cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **user,
    )  # fmt: skip
    ask = [binaries / "pg_isready", "-h", folder, "-p", str(port)]
    while process.poll() is None:
        if not subprocess.run(ask, env=environment, capture_output=True, check=False).returncode:
            break
        time.sleep(0.02)
    if process.poll() is not None:
        pytest.skip(f"the PostgreSQL server does not start here: {process.stderr.read()[-300:]}")
    process.stderr.close()
    return process, Postgres(folder, port, "audit")


WRITER = """
import sys
from modelward.ledger.store import Ledger
ledger = Ledger.open(sys.argv[1])
i = 0
while True:
    ledger.append({"i": i}, {"i": i + 1})
    i += 2
    print(i, flush=True)
"""


@pytest.fixture
def kill_a_writer():
    """Have a process append pairs of records to a ledger, and kill it in the middle."""

    def kill(place):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(place)], stdout=subprocess.PIPE)
        for _ in range(10):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()

    return kill


@pytest.fixture
def assert_whole_pairs():
    """Say that a ledger holds whole transactions of such a process, and goes on."""

    def check(ledger):
        numbers = [record["i"] for record in ledger.records()]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= 20
        assert len(numbers) % 2 == 0
        assert ledger.append({"i": -1}).size == len(numbers) + 1

    return check
