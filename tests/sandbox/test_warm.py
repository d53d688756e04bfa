import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from modelward import errors
from modelward.sandbox import RemoteFailure, Sandbox, warm

PACKAGE = """
from pathlib import Path
def entry(paths):
    import shop.late
    return {"read": lambda path: Path(path).read_bytes(), "late": lambda: shop.late.VALUE}
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A package in a folder that also holds a secret; both the working directory and '' on the path."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("")
    (tmp_path / "shop" / "model.py").write_text(PACKAGE)
    (tmp_path / "shop" / "late.py").write_text("VALUE = 5")
    (tmp_path / "secret.txt").write_text("my secret")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    return tmp_path


def test_of_a_checkout_only_the_package_is_readable(checkout):
    with Sandbox.start("shop.model:entry", readable=[]) as box:
        assert box.call("late") == 5
        assert box.call("read", str(checkout / "shop" / "late.py")) == b"VALUE = 5"
        with pytest.raises(RemoteFailure, match="Permission denied"):
            box.call("read", str(checkout / "secret.txt"))


def test_the_working_directory_is_searched_only_when_needed(checkout):
    with_shop = warm.recipe(["shop.model"])
    without = warm.recipe(["json"])
    assert str(checkout) in with_shop.search
    assert str(checkout) not in without.search
    assert str(checkout) not in with_shop.libraries
    assert str(checkout / "shop") in with_shop.libraries
    assert "" not in with_shop.search


def test_home_and_root_are_never_readable(monkeypatch):
    libraries = set(warm.recipe(["json", "msgspec"]).libraries)
    assert libraries.isdisjoint(
        {"/", "/home", str(Path.home()), "/etc", "/usr", "/proc", "/tmp", str(Path.cwd())}
    )


def test_one_process_serves_equal_recipes_in_all_threads():
    parents = []

    def ask():
        with Sandbox.start("behaviours:entry", readable=[]) as box:
            parents.append(box.call("parent"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(parents) == 6
    assert len(set(parents)) == 1


def test_a_preload_that_starts_threads_is_refused():
    with pytest.raises(errors.SandboxUnavailable, match="started 1 threads"):
        Sandbox.start("behaviours:entry", readable=[], preload=["threaded"])


def test_cooling_ends_the_processes():
    with Sandbox.start("behaviours:entry", readable=[]) as box:
        parent = box.call("parent")
        warm.cool()
        with pytest.raises(errors.SandboxDied):
            box.call("echo")
    assert not Path(f"/proc/{parent}").exists()
    warm.cool()


@pytest.mark.parametrize(
    ("executable", "why"), [("", "does not know its own executable"), ("/absent/python", "cannot be started")]
)
def test_an_absent_executable_is_refused(monkeypatch, executable, why):
    warm.cool()
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(errors.SandboxUnavailable, match=why):
        Sandbox.start("behaviours:entry", readable=[])


def test_an_interpreter_that_ends_at_once_is_noticed(monkeypatch):
    warm.cool()
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(errors.SandboxDied, match="warm process"):
        Sandbox.start("behaviours:entry", readable=[])


def test_a_warm_process_that_does_not_answer_is_ended(monkeypatch):
    with Sandbox.start("behaviours:entry", readable=[]) as box:
        parent = box.call("parent")
    monkeypatch.setattr(warm, "_ANSWER_SECONDS", 0.2)
    os.kill(parent, signal.SIGSTOP)
    with pytest.raises(errors.SandboxTimeout, match=r"within 0\.2 s"):
        Sandbox.start("behaviours:entry", readable=[])
    assert not Path(f"/proc/{parent}").exists()


def test_the_room_imports_no_heavy_library():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import modelward.sandbox, modelward.sandbox.zygote; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    source = str(Path(warm.__file__).parents[2])
    out = subprocess.run(
        [sys.executable, "-I", "-c", code, source], capture_output=True, text=True, check=True
    )
    third = {name for name in out.stdout.split() if not name.startswith("_")}
    optional = {
        "sitecustomize",
        "usercustomize",
        "typing_extensions",
    }  # site hooks; msgspec's, where installed
    assert third - optional == {"modelward", "msgspec"}


# Python 3.12 warns of forks where numpy has started threads; the copy here uses none of them
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_copy_of_this_process_starts_its_own():
    with Sandbox.start("behaviours:entry", readable=[]) as box:
        parent = box.call("parent")
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            with Sandbox.start("behaviours:entry", readable=[]) as copy:
                os.write(writer, str(copy.call("parent")).encode())
            warm.cool()
            os._exit(0)
        os.waitpid(pid, 0)
        assert int(os.read(reader, 20)) != parent
        assert box.call("echo", 1) == [1]
        os.close(reader)
        os.close(writer)
