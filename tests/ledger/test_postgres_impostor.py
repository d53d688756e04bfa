"""A server that is none, or answers wrongly: one sentence, never a traceback."""

import os
import socket
import struct
import threading

import pytest

from modelward.errors import KeyServiceFailed, ModelwardError
from modelward.ledger.store import Ledger

pytest.importorskip("pg8000", reason="the extra [postgres] is not installed")


def message(kind, body):
    return kind + struct.pack("!i", len(body) + 4) + body


WELCOME = message(b"R", bytes(4))
READY = message(b"Z", b"I")
DONE = message(b"C", b"SET\0") + READY
SCRAM = message(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0")
NUMBER = message(b"T", b"\0\1a\0" + struct.pack("!ihihih", 0, 0, 20, 8, -1, 0))
ANSWERS = {
    "hangs up": b"",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "an unknown way to log in": message(b"R", struct.pack("!i", 99)),
    "no way to log in": message(b"R", b""),
    "a way to log in that is cut short": message(b"R", struct.pack("!i", 10) + b"FOO\0\0"),
    "nonsense of SCRAM": SCRAM + message(b"R", struct.pack("!i", 11) + b"r=zz"),
    "an error that is no text": message(b"E", b"\xff\xff\0\0"),
    "an unknown encoding": WELCOME + message(b"S", b"client_encoding\0nonsense\0") + READY,
    "columns cut short": WELCOME + READY + message(b"T", b"\0\1a"),
    "a row without columns": WELCOME + READY + message(b"D", b"\0\5"),
    "an unknown message": WELCOME + READY + message(b"q", b""),
    "a negative length": WELCOME + b"Z" + struct.pack("!i", -5),
    "a number that is none": WELCOME + READY + 3 * DONE + NUMBER
    + message(b"D", struct.pack("!hi", 1, 3) + b"abc") + READY,
}  # fmt: skip


@pytest.fixture
def impostor():
    """A place where whatever is put into the list is answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answers = []

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(5)
                connection.recv(8)  # asks for TLS
                connection.sendall(b"N")
                connection.recv(4096)
                connection.sendall(answers[0])
                connection.shutdown(socket.SHUT_WR)
                try:
                    while connection.recv(4096):
                        pass
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"postgresql://somebody@127.0.0.1:{listener.getsockname()[1]}/ledger", answers
        thread.join(10)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("opened", [Ledger.open, Ledger.open_read_only])
def test_what_is_no_server_is_one_sentence(impostor, answer, opened, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "secret")
    place, answers = impostor
    answers.append(answer)
    with pytest.raises(KeyServiceFailed, match="does not answer") as refused:
        opened(place)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("seed", range(12))
def test_noise_is_one_sentence(impostor, seed, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "secret")
    place, answers = impostor
    answers.append(WELCOME + READY + bytes([seed * 21]) + os.urandom(50))
    with pytest.raises(ModelwardError):
        Ledger.open_read_only(place)
