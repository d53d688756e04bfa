"""The pages in a real browser: nothing is blocked, nothing overflows, something is drawn."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zlib
from html import escape

import pytest

from modelward.reporting.html import IndexEntry, to_html, to_index_html

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
DARK, LIGHT = 0, 1  # values of the blink setting
WIDTHS = [320, 390, 820, 1280]
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
    ),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0"),
)


@pytest.fixture
def browse(tmp_path):
    """Open a page; returns what it printed, the browser's console lines and the folder."""

    def run(source, *options):
        page = tmp_path / "page.html"
        page.write_text(source, encoding="utf-8")
        command = [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", *options, page.as_uri()]
        done = subprocess.run(command, capture_output=True, timeout=120, check=False)
        log = done.stderr.decode(errors="replace")
        assert done.returncode == 0, log[-2000:]
        # The browser's own pages (chrome://) talk to the same log when the machine is slow.
        said = [line for line in log.splitlines() if "CONSOLE" in line and "source: chrome://" not in line]
        return done.stdout.decode(errors="replace"), said

    return run


@pytest.fixture
def page_of(audits, glossary):
    def make(name):
        if name == "index":
            return to_index_html([IndexEntry(name=k, href=f"{k}.html", result=a) for k, a in audits.items()])
        return to_html(audits[name], glossary=glossary)

    return make


def pixels(png):
    """Width, height and the distinct rows of a PNG (ISO/IEC 15948), still filtered."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, data, size = 8, b"", (0, 0)
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        elif kind == b"IDAT":
            data += body
        at += 12 + length
    raw = zlib.decompress(data)
    stride = len(raw) // size[1]
    return size, {raw[i : i + stride] for i in range(0, len(raw), stride)}


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [("fail", 1280, LIGHT), ("fail", 390, DARK), ("hostile", 390, LIGHT), ("index", 1280, DARK)],
)
def test_it_renders_without_a_complaint(name, width, scheme, browse, page_of, tmp_path):  # noqa: PLR0917 - fixtures
    shot = tmp_path / "shot.png"
    options = (
        f"--screenshot={shot}",
        f"--window-size={width},1600",
        f"--blink-settings=preferredColorScheme={scheme}",
    )
    _, console = browse(page_of(name), *options)
    assert console == []
    size, rows = pixels(shot.read_bytes())
    assert size == (width, 1600)
    assert len(rows) > 200


def test_a_violation_of_the_policy_would_be_seen(browse, page_of):
    source = page_of("pass").replace(
        "</main>", '<p style="color:red">x</p><script>document.title = 1</script></main>'
    )
    _, console = browse(source, "--dump-dom")
    assert any("style" in line for line in console)
    assert any("script" in line for line in console)


PROBE = """<script>onload = () => { document.title = [...document.querySelectorAll("iframe")].map(frame => {
  const root = frame.contentDocument.documentElement; return root.scrollWidth + "/" + root.clientWidth }).join(" ") }</script>"""


@pytest.mark.parametrize("name", ["fail", "crowd", "hostile", "index"])
def test_nothing_is_wider_than_the_window(name, browse, page_of):
    # Everything unfolded, so that tables are measured too; the frames keep the page's own policy.
    source = escape(page_of(name).replace("<details", "<details open"))
    frames = "".join(f'<iframe width="{width}" height="900" srcdoc="{source}"></iframe>' for width in WIDTHS)
    dom, console = browse(f"<title>-</title>{frames}{PROBE}", "--dump-dom")
    measured = re.search(r"<title>([^<]+)</title>", dom)[1].split()
    assert console == []
    assert [int(pair.split("/")[1]) for pair in measured] == pytest.approx(WIDTHS, abs=16), (
        "frames have a scroll bar"
    )
    assert [pair for pair in measured if int(pair.split("/")[0]) > int(pair.split("/")[1])] == []
