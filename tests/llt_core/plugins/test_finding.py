"""Finding packages: nothing is imported that need not be, and a broken one costs only itself."""

import sys

import pytest

from llt_core.plugins.catalogue import Catalogue
from llt_core.plugins.finder import find_packages


def found():
    return {package.name: package for package in find_packages()}


def test_the_built_ins_come_first_by_the_same_door(site):
    site.add_answer("aaa-plugin")
    packages = find_packages()
    assert [p.name for p in packages[:2]] == ["llt", "aaa-plugin"]
    assert packages[0].module == "llt_plugins"
    assert {"digits", "resnet18", "hessian_trace", "inline"} <= {
        e.name for e in packages[0].entries
    }


def test_a_manifest_beside_the_code_is_read_without_importing_any(site):
    site.add_answer("quiet-plugin", version="2.3")
    (entry,) = found()["quiet-plugin"].entries
    assert (entry.qualified, entry.package_version) == ("quiet-plugin/answer", "2.3")
    assert entry.source.endswith("quiet_plugin/registry.toml")
    assert "quiet_plugin" not in sys.modules


def test_the_manifest_lies_beside_the_top_level_package(site):
    site.add(
        "deep-plugin",
        {"registry.toml": site.declare("answer", "deep_plugin.x:Y")},
        entry_point="deep_plugin.inside.hooks:plugin",
    )
    assert [e.name for e in found()["deep-plugin"].entries] == ["answer"]


@pytest.mark.parametrize("returned", ["HERE / 'plugins.toml'", "str(HERE / 'plugins.toml')"])
def test_a_hook_can_name_the_manifest(site, returned):
    site.add(
        "asked-plugin",
        {
            "__init__.py": "from pathlib import Path\n"
            "from llt_core.plugins import hookimpl\n"
            "HERE = Path(__file__).parent\n"
            f"@hookimpl\ndef llt_manifest(): return {returned}\n",
            "plugins.toml": site.declare("answer", "asked_plugin.metrics:Answer"),
        },
    )
    assert [e.qualified for e in found()["asked-plugin"].entries] == ["asked-plugin/answer"]


def test_a_hook_can_register_in_python(site):
    site.add(
        "python-plugin",
        {
            "__init__.py": "from llt_core.plugins import Entry, hookimpl\n"
            "@hookimpl\n"
            "def llt_manifest():\n"
            "    for n in (1, 2):\n"
            "        yield Entry(f'answer_{n}', 'metric', 'python_plugin.m:Answer', 'a number')\n",
            "m.py": site.answer,
        },
    )
    package = found()["python-plugin"]
    assert package.error == ""
    assert [e.qualified for e in package.entries] == [
        "python-plugin/answer_1",
        "python-plugin/answer_2",
    ]
    assert "python_plugin.m" not in sys.modules


def test_each_broken_package_says_why_and_the_others_are_there(site):
    site.add_broken()
    site.add_answer("sound-plugin")
    packages = found()
    for name, words in site.unreadable.items():
        assert words in packages[name].error, name
        assert (packages[name].version, packages[name].entries) == ("6.6", ())
    assert {e.name for e in packages["load-bad"].entries} == set(site.unloadable)
    assert [e.name for e in packages["sound-plugin"].entries] == ["answer"]
    assert packages["llt"].entries
    broken = {package.name for package in Catalogue.discover().broken}
    assert broken == set(site.unreadable)


def test_metadata_that_cannot_be_read_stops_nothing(site):
    site.add_answer("sound-plugin")
    for name in ("unrelated", "half-installed"):
        site.add_answer(name)
    unrelated = site.folder / "unrelated-1.0.dist-info" / "entry_points.txt"
    unrelated.write_text("[console_scripts]\nno equals sign\n", encoding="utf-8")
    (site.folder / "half_installed-1.0.dist-info" / "METADATA").unlink()
    (site.folder / "not_utf8-1.0.dist-info").mkdir()
    (site.folder / "not_utf8-1.0.dist-info" / "entry_points.txt").write_bytes(b"[llt]\n\xff = a")
    assert set(found()) == {"llt", "sound-plugin"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[llt]\na = twice_plugin\nb = twice_plugin.more\n", "2 entry points in the group 'llt'"),
        ("[llt]\nno equals sign\n", "entry_points.txt cannot be read"),
        ("[llt]\n", "0 entry points"),
    ],
)
def test_a_package_has_one_entry_point(site, text, words):
    site.add_answer("twice-plugin")
    (site.folder / "twice_plugin-1.0.dist-info" / "entry_points.txt").write_text(text)
    assert words in found()["twice-plugin"].error


def test_of_one_distribution_on_two_paths_the_first_counts(site, tmp_path, monkeypatch):
    site.add_answer("same-plugin", version="1.0")
    first = type(site)(tmp_path / "first")
    first.add_answer("same-plugin", version="2.0")
    monkeypatch.syspath_prepend(str(first.folder))
    versions = [p.version for p in find_packages() if p.name == "same-plugin"]
    assert versions == ["2.0"]


@pytest.mark.parametrize("word", ["off", "OFF", "0", "none"])
def test_the_switch_turns_strangers_off(site, monkeypatch, word):
    site.add("loud-plugin", {"__init__.py": "raise RuntimeError('imported')"})
    site.add_answer("sound-plugin")
    monkeypatch.setenv("LLT_PLUGINS", word)
    assert set(found()) == {"llt"}
    assert "loud_plugin" not in sys.modules


def test_any_other_word_leaves_them_on(site, monkeypatch):
    site.add_answer("sound-plugin")
    monkeypatch.setenv("LLT_PLUGINS", "on")
    assert "sound-plugin" in found()


def test_a_disabled_package_is_not_imported_to_ask_it(site, llt_toml):
    trace = site.folder / "imported"
    site.add("loud-plugin", {"__init__.py": f"open({str(trace)!r}, 'w'); raise RuntimeError"})
    llt_toml('disable = ["loud-plugin"]\n')
    assert Catalogue.discover().broken == ()
    assert not trace.exists()
    llt_toml("")
    assert [p.name for p in Catalogue.discover().broken] == ["loud-plugin"]
    assert trace.exists()
