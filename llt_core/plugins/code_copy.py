"""A copy of the code that computes cells, for jobs that start long after they were asked for.

A copy holds llt itself, every installed plugin package and the modules that a user's own
``llt.toml`` names, with what these import from beside it. It lies in a folder named by its
content::

    CODE/DIGEST/packages/llt_core/…        first on the path of a job
    CODE/DIGEST/packages/llt-code.json  where the copy was made from, versions of the rest
    CODE/DIGEST/local/llt.toml             and the user's modules beside it

Libraries (PyTorch, NumPy, …) are not copied: their versions are recorded, and a job that
finds others says so.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llt_core.plugins.catalogue import START_VARIABLE, Catalogue
from llt_core.plugins.finder import MANIFEST, Package, installed_version
from llt_core.plugins.settings import FILE_NAME

FACTS = "llt-code.json"
LIMIT = 64 * 2**20
"""Bytes of one package beyond which it is not copied: its version is recorded instead."""

_OWN = ("llt_core", "llt_plugins")
_IGNORED = ("__pycache__", ".*", "*.pyc", "*.egg-info", "node_modules")


@dataclass(frozen=True)
class CodeCopy:
    """One copy of the code."""

    folder: Path

    @property
    def packages(self) -> Path:
        """The folder to put first on the path of Python."""
        return self.folder / "packages"

    @property
    def environment(self) -> dict[str, str]:
        """What a process must be told so that it runs this code and no other."""
        return {"PYTHONPATH": str(self.packages), START_VARIABLE: str(self.folder / "local")}


def take(code: Path, start: Path | None = None) -> CodeCopy:
    """Copy the code of now into ``code``, unless a copy of the same is there.

    Parameters
    ----------
    code
        Folder of all copies.
    start
        Where the search for ``llt.toml`` begins; the current folder by default.
    """
    catalogue = Catalogue.discover(start)
    files = dict(_package_files(catalogue.packages))
    large = _too_large(files)
    files = {name: source for name, source in files.items() if name.parts[1] not in large}
    versions = _versions(catalogue.packages)
    versions |= {p.name: p.version for p in catalogue.packages if _top(p) in large}
    files |= _local_files(catalogue)
    contents = {name: source.read_bytes() for name, source in files.items()}
    contents.setdefault(Path("local") / FILE_NAME, b"# There was no llt.toml.\n")
    digest = hashlib.sha256()
    for name in sorted(contents):
        for part in (name.as_posix().encode(), contents[name]):
            digest.update(len(part).to_bytes(8, "big") + part)
    facts: dict[str, Any] = {"versions": versions, "git": origin(start or Path.cwd())}
    digest.update(json.dumps(facts, sort_keys=True).encode())
    target = code / digest.hexdigest()[:20]
    facts |= {"digest": target.name, "taken": datetime.now(UTC).isoformat(timespec="seconds")}
    if not target.is_dir():
        contents[Path("packages") / FACTS] = json.dumps(facts, indent=1).encode()
        _write(target, contents)
    os.utime(target)
    return CodeCopy(target)


def facts(packages: Path | None = None) -> dict[str, Any] | None:
    """Return what is known of the copy that this process runs; None if it runs no copy."""
    file = (packages or Path(__file__).parents[2]) / FACTS
    if not file.is_file():
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def changed(known: Mapping[str, Any]) -> list[str]:
    """Say which libraries are not what they were when the copy was made."""
    lines = []
    for name, then in known["versions"].items():
        now = installed_version(name)
        if name != "python" and now != then:
            lines.append(f"{name} was {then}, and is {now or 'not installed'}")
    if known["versions"]["python"] != platform.python_version():
        lines.append(
            f"Python was {known['versions']['python']}, and is {platform.python_version()}"
        )
    return lines


def tidy(code: Path, used: Iterable[str], age: float) -> None:
    """Remove the copies that nothing uses and nobody has asked for since the time ``age``."""
    keep = set(used)
    for folder in code.iterdir() if code.is_dir() else ():
        if folder.name not in keep and folder.stat().st_mtime < age:
            shutil.rmtree(folder, ignore_errors=True)


def origin(start: Path) -> dict[str, Any]:
    """Return commit and dirty flag of llt's checkout and of the one around ``start``."""
    known = facts()
    if known is not None:
        recorded: dict[str, Any] = known["git"]
        return recorded
    return {"llt": _git(Path(__file__).parent), "cwd": _git(start)}


def _git(folder: Path) -> dict[str, Any] | None:
    """Return the commit and dirty flag of the checkout around ``folder``, None outside one."""
    try:
        sha = _run_git(folder, "rev-parse", "HEAD")
        dirty = bool(_run_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None
    return {"sha": sha, "dirty": dirty}


def _run_git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=5, check=True
    ).stdout.strip()


def _write(target: Path, contents: Mapping[Path, bytes]) -> None:
    """Write a folder beside its place and rename it, so that it is whole or not there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".new.", dir=target.parent))
    try:
        for name, content in contents.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_bytes(content)
        beside.chmod(0o755)
        beside.rename(target)
    except OSError:
        if not target.is_dir():  # else another driver has made the same copy
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _package_files(packages: Iterable[Package]) -> Iterator[tuple[Path, Path]]:
    """Yield every file of llt and of the plugin packages: where it goes, where it is."""
    names = dict.fromkeys([*_OWN, *(_top(package) for package in packages if not package.error)])
    for name in names:
        spec = importlib.util.find_spec(name) if name else None
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            yield from _tree(Path(folder), Path("packages") / name)
        if spec and spec.origin and not spec.submodule_search_locations:
            yield Path("packages") / Path(spec.origin).name, Path(spec.origin)
        if name == "llt_plugins" and spec and spec.origin:  # in a checkout it lies at the top
            manifest = Path(spec.origin).parents[1] / MANIFEST
            if not (Path(spec.origin).parent / MANIFEST).is_file() and manifest.is_file():
                yield Path("packages") / name / MANIFEST, manifest


def _top(package: Package) -> str:
    return package.module.partition(":")[0].partition(".")[0]


def _tree(folder: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    for path in sorted(folder.iterdir()):
        if any(path.match(pattern) for pattern in _IGNORED):
            continue
        if path.is_dir():
            yield from _tree(path, target / path.name)
        elif path.is_file():
            yield target / path.name, path


def _too_large(files: Mapping[Path, Path]) -> set[str]:
    """Return the packages of strangers that are too large to copy."""
    sizes: dict[str, int] = {}
    for name, source in files.items():
        sizes[name.parts[1]] = sizes.get(name.parts[1], 0) + source.stat().st_size
    return {name for name, size in sizes.items() if size > LIMIT and name not in _OWN}


def _local_files(catalogue: Catalogue) -> dict[Path, Path]:
    """Return ``llt.toml``, the modules it names, and what they import from beside it."""
    settings = catalogue.settings
    if settings.path is None:
        return {}
    folder = settings.path.resolve().parent
    found = {Path("local") / FILE_NAME: settings.path}
    todo, seen = [entry.target for entry in settings.entries], set()
    while todo:
        name = re.split(r"[.:]", todo.pop())[0]
        if name in seen:
            continue
        seen.add(name)
        new = {}
        if (folder / name).is_dir():
            new = dict(_tree(folder / name, Path("local") / name))
        elif (folder / f"{name}.py").is_file():
            new = {Path("local") / f"{name}.py": folder / f"{name}.py"}
        found |= new
        for source in new.values():
            if source.suffix == ".py":
                todo += _imported(source)
    return found


def _imported(source: Path) -> Iterator[str]:
    """Yield every module that a file imports anywhere; none if it cannot be parsed."""
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _versions(packages: Iterable[Package]) -> dict[str, str]:
    """Return the versions of Python and of all that llt and its plugin packages require."""
    from packaging.requirements import InvalidRequirement, Requirement

    names = {"llt", *(package.name for package in packages)}
    found = {"python": platform.python_version()}
    for name in sorted(names):
        try:
            required = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for text in required:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            version = installed_version(requirement.name)
            if version is not None and requirement.name not in names:
                found[requirement.name] = version
    return found
