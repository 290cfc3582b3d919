"""A long-lived process keeps its catalogue until something changes that it was made from."""

import os
import shutil

import pytest

from llt_core.plugins import remembered
from llt_core.plugins.remembered import current_catalogue


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(remembered, "_known", None)


def names(catalogue):
    return {entry.qualified for entry in catalogue.entries}


def touch(path):
    """Give a file another time, however coarse the clock of the file system is."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))


def test_it_is_the_same_one_while_nothing_changes(site):
    site.add_answer("mine")
    first = current_catalogue()
    assert "mine/answer" in names(first)
    assert current_catalogue() is first


def test_a_package_that_comes_or_goes_is_noticed(site):
    before = current_catalogue()
    site.add_answer("mine")
    touch(site.folder)
    after = current_catalogue()
    assert names(after) == names(before) | {"mine/answer"}
    for path in site.folder.glob("mine*"):
        shutil.rmtree(path)
    touch(site.folder)
    assert names(current_catalogue()) == names(before)


def test_a_manifest_that_is_edited_is_noticed(site):
    site.add_answer("mine")
    assert "mine/answer" in names(current_catalogue())
    manifest = site.folder / "mine" / "registry.toml"
    manifest.write_text(site.declare("reply", "mine.metrics:Answer"))
    touch(manifest)
    assert "mine/reply" in names(current_catalogue())


def test_llt_toml_is_noticed_when_it_comes_changes_and_goes(site, llt_toml):
    assert not current_catalogue().settings.disable
    path = llt_toml('disable = ["a"]')
    assert current_catalogue().settings.disable == {"a"}
    llt_toml('disable = ["a", "b"]')
    assert current_catalogue().settings.disable == {"a", "b"}
    path.unlink()
    assert not current_catalogue().settings.disable


def test_another_folder_and_the_switch_are_noticed(site, llt_toml, monkeypatch, tmp_path):
    site.add_answer("mine")
    llt_toml('disable = ["a"]')
    assert current_catalogue().settings.disable
    monkeypatch.chdir(tmp_path)
    assert not current_catalogue().settings.disable
    assert "mine/answer" in names(current_catalogue())
    monkeypatch.setenv("LLT_PLUGINS", "off")
    assert "mine/answer" not in names(current_catalogue())


def test_what_is_broken_is_looked_at_again(site, llt_toml):
    site.add("bad-toml", {"__init__.py": "", "registry.toml": "[thing]\nkind ="})
    first = current_catalogue()
    assert first.broken
    assert current_catalogue() is not first
    shutil.rmtree(site.folder / "bad_toml-1.0.dist-info")
    llt_toml("disable = 1")
    first = current_catalogue()
    assert first.settings_error
    assert current_catalogue() is not first
