"""The source that a factory is made of, so that an edited architecture is another run."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from modelward.core.digest import file_digest, table_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def factory_digest(factory: str, folder: Path) -> str | None:
    """Digest of a factory's module and of all modules of the same folder that it imports, at any depth.

    Installed libraries are not followed: their versions are recorded.

    Args:
        factory: ``package.module:function``.
        folder: where the factory is imported from.

    Returns:
        Null when the module is not in the folder.
    """
    found: dict[str, str] = {}
    waiting = [factory.partition(":")[0]]
    while waiting:
        for path in _files(folder, waiting.pop()):
            name = path.relative_to(folder).as_posix()
            if name not in found:
                found[name] = file_digest(path)
                waiting.extend(_imports(path, name))
    return table_digest(found) if found else None


def _files(folder: Path, module: str) -> Iterator[Path]:
    """The files that importing a dotted name runs: each package on the way, then the module."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        at = folder.joinpath(*parts[:depth])
        yield from (path for path in (at / "__init__.py", at.with_name(f"{at.name}.py")) if path.is_file())


def _imports(path: Path, name: str) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # importing it says so
        return
    package = name.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # What is imported from a package may be a module of it.
            yield from filter(None, [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)])
