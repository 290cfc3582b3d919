"""Copies of the code: what is in them, which code runs from them, and what they notice."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import llt_core
from llt_core.plugins import code_copy

ROOT = Path(llt_core.__file__).parents[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A user's folder with an ``llt.toml``, a module of theirs, and what it imports."""
    folder = tmp_path / "project"
    (folder / "parts" / "data").mkdir(parents=True)
    (folder / "llt.toml").write_text(
        '[mine]\nkind = "metric"\ntarget = "mine:Mine"\nsummary = "One of mine"\n'
    )
    (folder / "mine.py").write_text(
        "import os\nfrom parts.inner import NUMBER\n"
        "def later():\n    import helper\n"
        "class Mine:\n    number = NUMBER\n"
    )
    (folder / "helper.py").write_text("import xml.dom\n")
    (folder / "parts" / "__init__.py").write_text("")
    (folder / "parts" / "inner.py").write_text("from . import other\nNUMBER = 1\n")
    (folder / "parts" / "other.py").write_text("import third.deep\n")
    (folder / "parts" / "data" / "table.csv").write_text("1,2\n")
    (folder / "third").mkdir()
    (folder / "third" / "deep.py").write_text("")
    (folder / "unrelated.py").write_text("raise SystemExit\n")
    (folder / "results.bin").write_bytes(b"0" * 1000)
    monkeypatch.chdir(folder)
    return folder


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def python(copy, code, cwd):
    environment = os.environ | copy.environment
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_it_holds_llt_and_what_the_user_names(project, tmp_path):
    copy = code_copy.take(tmp_path / "code")
    assert files(copy.folder / "local") == {
        "llt.toml", "mine.py", "helper.py", "parts/__init__.py", "parts/inner.py",
        "parts/other.py", "parts/data/table.csv", "third/deep.py",
    }  # fmt: skip
    for package in ("llt_core", "llt_plugins"):
        originals = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / package).rglob("*.py")
            if "__pycache__" not in path.parts
        }
        assert originals <= files(copy.packages)
    assert (copy.packages / "llt_plugins" / "registry.toml").is_file()


def test_a_process_runs_the_copy_whatever_happens_to_the_originals(project, tmp_path):
    copy = code_copy.take(tmp_path / "code")
    (project / "parts" / "inner.py").write_text("NUMBER = 2\n")
    (project / "llt.toml").write_text("this is no TOML")
    (project / "llt_core").mkdir()  # a folder of that name where the job runs
    code = """
import llt_core, llt_plugins, json
from llt_core.plugins import Catalogue
entry = Catalogue.discover().resolve("metric", "mine").entry
from llt_core.plugins.loader import load
try:
    load(entry)
except Exception as error:
    assert "not a subclass" in str(error), error
import mine
built_in = Catalogue.discover().resolve("task", "digits").entry
print(json.dumps([llt_core.__file__, llt_plugins.__file__, mine.Mine.number, built_in.source]))
"""
    core, plugins, number, source = json.loads(python(copy, code, project))
    assert core.startswith(str(copy.packages))
    assert plugins.startswith(str(copy.packages))
    assert number == 1
    assert source == str(copy.packages / "llt_plugins" / "registry.toml")


def test_without_settings_no_other_are_found(tmp_path, monkeypatch):
    """Settings written later, above the copy or where the job runs, are not taken for its own."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    copy = code_copy.take(tmp_path / "code")
    for folder in (tmp_path, tmp_path / "empty"):
        (folder / "llt.toml").write_text('executor = "elsewhere"\n')
    code = (
        "from llt_core.plugins import Catalogue;print(repr(Catalogue.discover().settings.executor))"
    )
    assert python(copy, code, tmp_path / "empty") == "''"


def test_the_same_code_is_copied_once_and_other_code_again(project, tmp_path):
    code = tmp_path / "code"
    first = code_copy.take(code)
    assert code_copy.take(code) == first
    (project / "helper.py").write_text("CHANGED = True\n")
    second = code_copy.take(code)
    assert second != first
    assert {path.name for path in code.iterdir()} == {first.folder.name, second.folder.name}


def test_a_copy_knows_where_it_is_from(project, tmp_path):
    """So results name the commit of the checkout, not of what surrounds the copy."""
    git = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a", "GIT_COMMITTER_NAME": "a"}
    environment = os.environ | git | {"GIT_COMMITTER_EMAIL": "a"}
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "mine"]):
        subprocess.run(["git", *words], cwd=project, check=True, env=environment)
    copy = code_copy.take(tmp_path / "code")
    before = code_copy.origin(project)
    assert before["cwd"]["dirty"] is False
    (project / "mine.py").write_text("")
    code = (
        "import json; from pathlib import Path; from llt_core.plugins import code_copy;"
        "print(json.dumps(code_copy.origin(Path.cwd())))"
    )
    assert code_copy.origin(project)["cwd"]["dirty"] is True
    assert json.loads(python(copy, code, project)) == before


def test_other_libraries_are_noticed(project, tmp_path):
    known = code_copy.facts(code_copy.take(tmp_path / "code").packages)
    assert {"torch", "numpy", "pydantic", "python"} <= set(known["versions"])
    assert code_copy.changed(known) == []
    known["versions"] |= {"numpy": "1.0", "python": "2.7.18", "no-such-library": "3"}
    lines = code_copy.changed(known)
    assert len(lines) == 3
    assert any("numpy was 1.0" in line for line in lines)
    assert any("not installed" in line for line in lines)


def test_packages_too_large_to_copy_are_known_by_version(tmp_path, monkeypatch):
    """A stranger's package with data inside is left where it is."""
    site = tmp_path / "site"
    (site / "huge").mkdir(parents=True)
    (site / "huge" / "__init__.py").write_text("")
    (site / "huge" / "registry.toml").write_text("")
    (site / "huge" / "model.bin").write_bytes(b"0" * 5000)
    (site / "huge-1.5.dist-info").mkdir()
    (site / "huge-1.5.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: huge\nVersion: 1.5\n"
    )
    (site / "huge-1.5.dist-info" / "entry_points.txt").write_text("[llt]\nhuge = huge\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    small = code_copy.take(tmp_path / "code")
    assert "huge/model.bin" in files(small.packages)
    monkeypatch.setattr(code_copy, "LIMIT", 4000)
    large = code_copy.take(tmp_path / "code")
    assert not (large.packages / "huge").exists()
    assert code_copy.facts(large.packages)["versions"]["huge"] == "1.5"


def test_copies_that_nothing_uses_are_removed(project, tmp_path):
    code = tmp_path / "code"
    used = code_copy.take(code)
    (project / "helper.py").write_text("")
    unused = code_copy.take(code)
    code_copy.tidy(code, [used.folder.name], age=0)
    assert unused.folder.is_dir()  # somebody may be about to use it
    os.utime(unused.folder, (1, 1))
    os.utime(used.folder, (1, 1))
    code_copy.tidy(code, [used.folder.name], age=2)
    assert {path.name for path in code.iterdir()} == {used.folder.name}
    shutil.rmtree(code)
    code_copy.tidy(code, [], age=2)
