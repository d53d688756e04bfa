"""The pages in a real browser: nothing is blocked, nothing overflows, something is drawn."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zlib
from html import escape

import pytest

from modelward.reporting.exhibit import Cell, Exhibit, Picture, pieces
from modelward.reporting.html import IndexEntry, to_html, to_index_html
from modelward.reporting.png import png

RED = bytes((250, 10, 20))
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
        if name == "witnesses":
            return to_html(audits["fail"], exhibits=witnesses())
        return to_html(audits[name], glossary=glossary)

    return make


def witnesses():
    """A picture with a red square in it, a row with a name of no end, and a text with a lookalike."""
    plain = {"row": 1, "check": "c", "norm": "l0", "eps": 2.0, "unit": "pixels", "size": 1.0, "touched": 1}
    red = png(RED * 64 * 64, 64, 64, 3)
    picture = Picture(width=64, height=64, original=red, change=red, changed=red, gain=2.0)
    cell = Cell(column="x" * 200, before="1" * 200, after="2" * 200, units=0.5)
    text = pieces("y" * 300, [(10, 20)])
    return [
        Exhibit(**plain, label="a", prediction="b", picture=picture),
        Exhibit(**plain, label="a" * 90, prediction=None, cells=(cell,)),
        Exhibit(**plain, label="a", prediction="b", before=text, after=text),
    ]


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
    [("fail", 1280, LIGHT), ("witnesses", 390, DARK), ("hostile", 390, LIGHT), ("index", 1280, DARK)],
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


def test_pictures_in_the_page_are_drawn_and_no_others_are_loaded(browse, page_of):
    probe = "<script>onload = () => { document.title = [...document.images].map(i => i.naturalWidth).join(' ') }</script>"
    source = escape(page_of("witnesses").replace("<body>", '<body><img src="page.html" alt="no">'))
    frame = f'<iframe srcdoc="{source}"></iframe>'
    read = probe.replace("document.images", "document.querySelector('iframe').contentDocument.images")
    dom, console = browse(f"<title>-</title>{frame}{read}", "--dump-dom")
    assert re.search(r"<title>([^<]+)</title>", dom)[1] == "0 64 64 64"
    assert any("page.html" in line and "Content Security Policy" in line for line in console)


@pytest.mark.parametrize("name", ["fail", "crowd", "hostile", "index", "witnesses"])
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
