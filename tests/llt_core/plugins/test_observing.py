"""Observers hear everything and change nothing, whatever they do."""

import sys

import pytest

from llt_core.plugins import Catalogue
from llt_core.plugins.observers import Observers

LISTENS = """
from llt_core.plugins import hookimpl
heard = []
@hookimpl
def llt_cell_finished(digest, record):
    heard.append((digest, record))
@hookimpl
def llt_sweep_finished(summary):
    heard.append(summary)
"""

SPOILS = """
from llt_core.plugins import hookimpl
@hookimpl
def llt_cell_finished(digest, kind, record):
    record["values"].append("spoilt")
    record.pop("seed")
    return {"digest": "another"}
"""

RAISES = """
from llt_core.plugins import hookimpl
@hookimpl
def llt_cell_finished(): raise RuntimeError("no space for my log")
@hookimpl
def llt_sweep_finished(): raise SystemExit(4)
@hookimpl
def llt_provenance(): raise KeyError("home")
"""


@pytest.fixture
def observe(site):
    """Install packages whose hook modules have the given text, and gather them."""

    def install(**modules):
        for name, text in modules.items():
            manifest = site.declare(name, f"{name}.metrics:Answer")
            files = {"__init__.py": "", "hooks.py": text, "registry.toml": manifest}
            site.add(name, files, entry_point=f"{name}.hooks")
        return Observers(Catalogue.discover())

    return install


def heard(name):
    return sys.modules[f"{name}.hooks"].heard


def finish(observers, record):
    observers.notify("llt_cell_finished", digest="abc", kind="train", record=record)


def test_an_observer_takes_only_the_facts_it_names(observe):
    observers = observe(listener=LISTENS)
    finish(observers, {"seed": 3})
    observers.notify("llt_sweep_finished", summary={"cells": {"new": 1}})
    observers.notify("llt_cell_started", digest="abc", kind="train")
    assert heard("listener") == [("abc", {"seed": 3}), {"cells": {"new": 1}}]
    assert observers.errors == []


def test_an_observer_cannot_change_what_others_see(observe):
    observers = observe(a_listener=LISTENS, m_spoiler=SPOILS, z_listener=LISTENS)
    record = {"seed": 3, "values": [1]}
    finish(observers, record)
    assert record == {"seed": 3, "values": [1]}
    for name in ("a_listener", "z_listener"):
        assert heard(name) == [("abc", {"seed": 3, "values": [1]})]


def test_what_an_observer_raises_is_kept_and_the_others_are_called(observe):
    observers = observe(a_listener=LISTENS, m_raiser=RAISES, z_listener=LISTENS)
    finish(observers, {})
    finish(observers, {})
    observers.notify("llt_sweep_finished", summary={})
    assert observers.provenance() == {}
    assert observers.errors == [
        ("m_raiser", "llt_cell_finished", "RuntimeError: no space for my log"),
        ("m_raiser", "llt_sweep_finished", "SystemExit: 4"),
        ("m_raiser", "llt_provenance", "KeyError: 'home'"),
    ]
    assert heard("a_listener") == heard("z_listener") == [("abc", {}), ("abc", {}), {}]


def provenance(expression):
    return (
        "from llt_core.plugins import hookimpl\n"
        f"KEPT = {expression}\n"
        "@hookimpl\ndef llt_provenance(): return KEPT\n"
    )


def test_provenance_is_json_under_the_package_name(observe):
    observers = observe(
        good=provenance("{'greeting': 'hello', 'numbers': (1, 2)}"),
        unstorable=provenance("{'where': __import__('pathlib').Path('.')}"),
    )
    assert observers.provenance() == {"good": {"greeting": "hello", "numbers": [1, 2]}}
    ((package, hook, message),) = observers.errors
    assert (package, hook) == ("unstorable", "llt_provenance")
    assert "not JSON serializable" in message


def test_provenance_is_a_copy(observe):
    observers = observe(good=provenance("{'list': [1]}"))
    observers.provenance()["good"]["list"].append(2)
    assert observers.provenance() == {"good": {"list": [1]}}


MISSPELT = "from llt_core.plugins import hookimpl\n@hookimpl\ndef llt_cell_fnished(): pass\n"
WRONG_FACT = (
    "from llt_core.plugins import hookimpl\n"
    "heard = []\n"
    "@hookimpl\ndef llt_cell_failed(digest): heard.append(digest)\n"
    "@hookimpl\ndef llt_cell_finished(digset): heard.append(digset)\n"
)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        (MISSPELT, "unknown hook 'llt_cell_fnished'"),
        (WRONG_FACT, "digset"),
    ],
)
def test_a_hook_module_that_cannot_be_used_is_recorded(observe, module, words):
    observers = observe(a_broken=module, b_listener=LISTENS)
    finish(observers, {})
    observers.notify("llt_cell_failed", digest="abc", kind="train", failure={})
    ((package, hook, message),) = observers.errors
    assert (package, hook) == ("a_broken", "import")
    assert words in message
    assert heard("b_listener") == [("abc", {})]
    if module is WRONG_FACT:
        assert heard("a_broken") == []


def test_disabled_and_broken_packages_do_not_observe(site, observe, llt_toml):
    site.add_broken()
    llt_toml('disable = ["listener"]\n')
    observers = observe(listener=LISTENS)
    assert observers.errors == []
    assert "listener.hooks" not in sys.modules
