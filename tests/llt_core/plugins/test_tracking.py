"""Trackers: switched on by name, with parameters; whatever they do costs a request nothing."""

import sys

import pytest

from llt_core.errors import LltError, RequestError
from llt_core.plugins import Catalogue
from llt_core.plugins.errors import ManifestError, UnknownPluginError
from llt_core.plugins.observers import Observers

TRACKERS = '''
from pydantic import PrivateAttr
from llt_core.interfaces import LltError, Tracker, parameter
from llt_core.plugins import hookimpl

heard = []

class Diary(Tracker):
    """Notes what it hears."""

    summary = "Notes everything that it hears"
    to: str = parameter("diary", description="where to")
    size: int = parameter(1, description="how much")
    _count: int = PrivateAttr(0)

    @hookimpl
    def llt_sweep_started(self, summary):
        heard.append((self.to, self.size, summary))

    @hookimpl
    def llt_cell_finished(self, digest, record):
        self._count += 1
        record.clear()
        heard.append((digest, self._count))

class Grumpy(Diary):
    @hookimpl
    def llt_cell_finished(self, digest):
        raise OSError("no space left")

class Absent(Diary):
    @hookimpl
    def llt_sweep_started(self):
        import no_such_library

class Refusing(Diary):
    @hookimpl
    def llt_sweep_started(self):
        raise LltError("nobody answers", where="over there")

class Misspelt(Diary):
    @hookimpl
    def llt_cell_finnished(self): pass

class Greedy(Diary):
    @hookimpl
    def llt_cell_finished(self, digest, wishes): pass
'''
CLASSES = ("Diary", "Grumpy", "Absent", "Refusing", "Misspelt", "Greedy")


@pytest.fixture
def trackers(site):
    """A package that offers the trackers above, and one whose module cannot be imported."""
    tables = [
        site.declare(cls.lower(), f"notes.trackers:{cls}", "tracker", needs={"extra": "all"})
        for cls in CLASSES
    ]
    tables.append(site.declare("missing", "notes.nowhere:Missing", "tracker"))
    manifest = "\n".join(tables).replace('{"extra": "all"}', '{ extra = "all" }')
    files = {"__init__.py": "", "trackers.py": TRACKERS, "registry.toml": manifest}
    site.add("notes", files)
    yield
    sys.modules.pop("notes.trackers", None)


def observe(**track):
    return Observers(Catalogue.discover(), track or None)


def tell(observers, cells=1):
    observers.notify("llt_sweep_started", summary={"name": "mine"})
    for number in range(cells):
        facts = {"digest": str(number), "kind": "train", "label": "a cell", "record": {"seed": 1}}
        observers.notify("llt_cell_finished", **facts)
    observers.notify("llt_sweep_finished", summary={})


def heard():
    return sys.modules["notes.trackers"].heard


def test_nothing_is_imported_that_was_not_asked_for(trackers):
    tell(observe())
    assert "notes.trackers" not in sys.modules


def test_a_tracker_gets_its_parameters_and_hears(trackers):
    observers = observe(diary={"to": "there"})
    tell(observers, cells=2)
    assert observers.errors == []
    assert heard() == [("there", 1, {"name": "mine"}), ("0", 1), ("1", 2)]


def test_llt_toml_switches_on_and_gives_parameters(trackers, llt_toml):
    llt_toml('[track.diary]\nto = "usual"\nsize = 3\n')
    tell(observe(), cells=0)
    tell(observe(diary={"size": 4}), cells=0)
    assert heard() == [("usual", 3, {"name": "mine"}), ("usual", 4, {"name": "mine"})]
    tell(Observers(Catalogue.discover(), {}), cells=0)
    assert len(heard()) == 2
    tell(Observers(Catalogue.discover(), {"grumpy": {}}), cells=0)
    assert heard()[2:] == [("diary", 1, {"name": "mine"})]


def test_one_that_is_named_twice_is_told_once(trackers):
    tell(Observers(Catalogue.discover(), {"diary": {"to": "a"}, "notes/diary": {"size": 2}}))
    assert heard() == [("a", 2, {"name": "mine"}), ("0", 1)]


@pytest.mark.parametrize("text", ["track = 1", "track = { diary = true }", "[[track]]\n"])
def test_a_malformed_table_is_told(trackers, llt_toml, text):
    llt_toml(text)
    catalogue = Catalogue.discover()
    assert isinstance(catalogue.settings_error, ManifestError)
    assert "[track.NAME]" in str(catalogue.settings_error)


def test_wrong_requests_are_errors_at_once(trackers):
    with pytest.raises(UnknownPluginError, match="no tracker is called 'dairy'"):
        observe(dairy={})
    with pytest.raises(RequestError, match="did you mean size"):
        observe(diary={"sise": 2})
    with pytest.raises(RequestError, match="cannot take size"):
        observe(diary={"size": "much"})
    with pytest.raises(LltError, match="plugin of kind"):
        observe(digits={})


def test_what_a_tracker_raises_is_kept_and_the_others_are_told(trackers):
    observers = observe(grumpy={}, diary={})
    tell(observers, cells=2)
    assert observers.errors == [("notes/grumpy", "llt_cell_finished", "OSError: no space left")]
    assert heard()[-2:] == [("0", 1), ("1", 2)]


def test_one_that_cannot_start_is_not_called_again(trackers):
    observers = observe(refusing={}, absent={})
    tell(observers, cells=2)
    assert sorted(observers.errors) == [
        (
            "notes/absent",
            "llt_sweep_started",
            "ModuleNotFoundError: No module named 'no_such_library'\n"
            "  next: pip install 'notes[all]'",
        ),
        ("notes/refusing", "llt_sweep_started", "nobody answers\n  where: over there"),
    ]
    assert heard() == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("misspelt", "unknown hook 'llt_cell_finnished'"),
        ("greedy", "wishes"),
        ("missing", "No module named 'notes.nowhere'"),
    ],
)
def test_a_broken_tracker_costs_only_itself(trackers, name, words):
    observers = observe(**{name: {}, "diary": {}})
    tell(observers)
    ((called, hook, message),) = observers.errors
    assert (called, hook) == (f"notes/{name}", "import")
    assert words in message
    assert heard() == [("diary", 1, {"name": "mine"}), ("0", 1)]
