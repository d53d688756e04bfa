"""Threads that take from one another what they have just seen."""

from modelward.vault.container.reading import Container
from modelward.vault.container.recipients.hpke import HpkeIdentity, HpkeRecipient
from modelward.vault.container.sealing import Sealing
from modelward.vault.container.writing import SealOptions, seal_folder
from modelward.vault.hazmat import kem


class Raced(list):
    """Whoever asks sees that something is there, and finds it taken."""

    def __bool__(self):
        return True


def test_a_buffer_that_another_thread_took_is_made_anew(tmp_path, monkeypatch):
    begin = Sealing.__init__

    def raced(self, *given, **named):
        begin(self, *given, **named)
        self._spare = Raced()

    monkeypatch.setattr(Sealing, "__init__", raced)
    key = kem.generate("x25519")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(bytes(3 << 20))
    options = SealOptions(recipients=(HpkeRecipient(kem.public_of(key)),))
    seal_folder(tmp_path / "model", tmp_path / "sealed", options)
    opened = Container.open(tmp_path / "sealed").unlock([HpkeIdentity(key)])
    with opened.file("weights.bin") as file:
        assert bytes(file.read(0, 3 << 20)) == bytes(3 << 20)
