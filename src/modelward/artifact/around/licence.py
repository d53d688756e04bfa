"""Licence files: which licence a text is, by words that only it has. Names: SPDX licence list 3.27."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from modelward.artifact.pickle.values import Buffer
    from modelward.artifact.reading import Reading

_TEXTS: Final[tuple[tuple[str, str], ...]] = (
    ("AGPL-3.0-only", r"gnu affero general public license\W+version 3"),
    ("LGPL-3.0-only", r"gnu lesser general public license\W+version 3"),
    ("LGPL-2.1-only", r"gnu lesser general public license\W+version 2\.1"),
    ("GPL-3.0-only", r"gnu general public license\W+version 3"),
    ("GPL-2.0-only", r"gnu general public license\W+version 2"),
    ("MPL-2.0", r"mozilla public license,? version 2\.0"),
    ("EPL-2.0", r"eclipse public license - v 2\.0"),
    ("LicenseRef-llama-3", r"(meta )?llama 3(\.\d)? community license"),
    ("LicenseRef-llama-2", r"llama 2 community license"),
    ("LicenseRef-gemma", r"gemma (is provided under|terms of use)"),
    ("LicenseRef-openrail", r"(creativeml )?open ?rail(\+\+)?-?[ms]"),
    ("BUSL-1.1", r"business source license 1\.1"),
    ("Elastic-2.0", r"elastic license 2\.0"),
    ("SSPL-1.0", r"server side public license"),
    ("Apache-2.0", r"apache license\W+version 2\.0"),
    ("CC-BY-NC-SA-4.0", r"attribution-noncommercial-sharealike 4\.0"),
    ("CC-BY-NC-ND-4.0", r"attribution-noncommercial-noderiv\w* 4\.0"),
    ("CC-BY-NC-4.0", r"attribution-noncommercial 4\.0"),
    ("CC-BY-SA-4.0", r"attribution-sharealike 4\.0"),
    ("CC-BY-4.0", r"attribution 4\.0"),
    ("CC0-1.0", r"cc0 1\.0 universal"),
    ("BSL-1.0", r"boost software license - version 1\.0"),
    ("Unlicense", r"free and unencumbered software released into the public domain"),
    ("MIT", r"permission is hereby granted, free of charge, to any person obtaining a copy"),
    ("ISC", r"permission to use, copy, modify, and/?(or)? distribute this software for any purpose"),
    ("BSD-3-Clause", r"redistribution and use in source and binary forms.*neither the name"),
    ("BSD-2-Clause", r"redistribution and use in source and binary forms"),
)
"""The first that fits counts: the particular ones stand before those whose words they repeat."""


def read(data: Buffer, into: Reading) -> None:
    """Keep the licence of the text as a fact."""
    words = " ".join(bytes(data[:65536]).decode("utf-8", "replace").lower().split())
    found = next((name for name, form in _TEXTS if re.search(form, words)), None)
    if found is not None:
        into.facts["licence"] = found
    elif words:
        into.finding("licence.unknown", "info", "the text is none of the licences that are known here")
