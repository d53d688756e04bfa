"""Write the licences of src/modelward/artifact/around/packages.toml anew, as the public index states them.

    python tools/packages.py

Names are those that the file lists already; to add one, add it with an empty licence first. Needs the network.
"""

from __future__ import annotations

import json
import re
import tomllib
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "src" / "modelward" / "artifact" / "around" / "packages.toml"
HEADERS = {
    "licences": "# Packages that models often need, with the licence that each states on the public index (SPDX; empty: it states\n# none). Written by tools/packages.py. A name one edit away from these is looked at twice.",
    "squatted": "# Names that carried malware on a public index, as its advisories report.",
    "misnamed": "# Names that people take for a package, which has another name.",
}
CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL-2.1-or-later",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "The Unlicense (Unlicense)": "Unlicense",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "Other/Proprietary License": "LicenseRef-proprietary",
    "NVIDIA Proprietary Software": "LicenseRef-proprietary",
}
WORDS = (
    (
        r"apache[- ]?(software )?(license)?,?[- ]?(version )?2(\.0)?|apache license 2\.0|apache software license|apache",
        "Apache-2.0",
    ),
    (r"(the )?mit( license)?( \(mit\))?", "MIT"),
    (r"(new |modified |3-clause )?bsd([- ]3[- ]?clause)?( license)?|bsd 3-clause.*", "BSD-3-Clause"),
    (r"bsd[- ]2[- ]clause( license)?", "BSD-2-Clause"),
    (r"isc( license)?", "ISC"),
    (r"mpl[- ]?2(\.0)?", "MPL-2.0"),
    (r"agpl[- ]?(v?3(\.0)?)?", "AGPL-3.0-only"),
)


def licence(name: str) -> str | None:
    """SPDX expression that the newest release states; "" when it states none, None when there is no such package."""
    try:
        with urllib.request.urlopen(f"https://pypi.org/pypi/{name}/json", timeout=60) as answer:
            info = json.load(answer)["info"]
    except urllib.error.HTTPError:
        return None
    if info.get("license_expression"):
        return str(info["license_expression"])
    found = [
        CLASSIFIERS[last]
        for line in info["classifiers"]
        if line.startswith("License ::") and (last := line.rsplit(" :: ", 1)[-1]) in CLASSIFIERS
    ]
    if found:
        return " OR ".join(sorted(set(found)))
    stated = " ".join((info.get("license") or "").split()).lower()
    return next((spdx for pattern, spdx in WORDS if re.fullmatch(pattern, stated)), "")


def main() -> None:
    """Ask for each name and write the file."""
    content = tomllib.loads(FILE.read_text(encoding="utf-8"))
    names = sorted(content["licences"])
    with ThreadPoolExecutor(16) as pool:
        stated = dict(zip(names, pool.map(licence, names), strict=True))
    for name in [name for name, text in stated.items() if text is None]:
        print(f"{name}: not on the index, left out")
    content["licences"] = {name: text for name, text in stated.items() if text is not None}
    lines: list[str] = []
    for section, header in HEADERS.items():
        lines += [header, f"[{section}]"]
        lines += [
            f"{json.dumps(key)} = {json.dumps(value)}" for key, value in sorted(content[section].items())
        ]
        lines += [""]
    FILE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(
        f"{len(content['licences'])} packages, {sum(not text for text in content['licences'].values())} state none"
    )


if __name__ == "__main__":
    main()
