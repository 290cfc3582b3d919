"""Packages made up on the spot, laid out as ``pip install --target`` leaves them."""

import base64
import hashlib
import importlib
import json
import sys
from pathlib import Path

import pytest

ANSWER = '''
from llt_core.interfaces import Measurement, Metric, Quantity, parameter


class Answer(Metric):
    """The same number for every model."""

    summary = "The same number for every model"
    returns = (Quantity(name="answer", unit="", description="42 and a little more"),)

    offset: int = parameter(0, ge=0, le=9, unit="units", description="What to add to 42")

    def measure(self, context):
        return [Measurement(name="answer", value=42.0 + self.offset, standard_error=0.0)]
'''


def declare(name, target, kind="metric", **more):
    """Return one table of a manifest."""
    table = {"kind": kind, "target": target, "summary": f"What {name} is", **more}
    return "\n".join([f"[{name}]", *(f"{key} = {json.dumps(v)}" for key, v in table.items()), ""])


UNREADABLE = {
    "bad-import": (
        {"__init__.py": "import no_such_module_anywhere"},
        "ModuleNotFoundError: No module named 'no_such_module_anywhere'",
    ),
    "bad-exit": ({"__init__.py": "raise SystemExit('not today')"}, "SystemExit: not today"),
    "bad-toml": (
        {"__init__.py": "", "registry.toml": "[thing]\nkind = \n"},
        "Invalid value (at line 2, column 8)",
    ),
    "bad-hook": (
        {
            "__init__.py": "from llt_core.plugins import hookimpl\n"
            "@hookimpl\n"
            "def llt_cell_fnished(digest): pass\n"
        },
        "unknown hook 'llt_cell_fnished'",
    ),
    "bad-answer": (
        {
            "__init__.py": "from llt_core.plugins import hookimpl\n"
            "@hookimpl\n"
            "def llt_manifest(): return [{'name': 'thing'}]\n"
        },
        "{'name': 'thing'} is not a registration",
    ),
    "bad-nothing": ({"__init__.py": "x = 1"}, "the package declares nothing"),
    "bad-module": ({}, "names bad_module, which is not there"),
}

UNLOADABLE = {
    "no_module": ("load_bad.nowhere:Answer", "No module named 'load_bad.nowhere'"),
    "no_class": ("load_bad.metrics:Anwser", "has no attribute 'Anwser'"),
    "raises": ("load_bad.raises:Answer", "RuntimeError: on a bad day"),
    "exits": ("load_bad.exits:Answer", "SystemExit: 3"),
    "no_metric": ("load_bad.wrong:NoMetric", "not a subclass of Metric"),
    "a_function": ("load_bad.wrong:function", "not a subclass of Metric"),
    "abstract": ("load_bad.wrong:Abstract", "does not define measure"),
}


class Site:
    """A folder of installed packages.

    ``unreadable``: packages that cannot be listed → words of their error. ``unloadable``: metrics
    of the package ``load-bad`` that are listed but cannot be imported → words of their error.
    """

    answer = ANSWER
    declare = staticmethod(declare)
    unreadable = {name: words for name, (_, words) in UNREADABLE.items()}
    unloadable = {name: words for name, (_, words) in UNLOADABLE.items()}

    def __init__(self, folder: Path):
        self.folder = folder

    def add(self, name, files, *, entry_point=None, version="1.0"):
        """Install a distribution whose import package is ``name`` with underscores."""
        package = name.replace("-", "_")
        info = f"{package}-{version}.dist-info"
        written = {f"{package}/{path}": text for path, text in files.items()}
        written[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        written[f"{info}/entry_points.txt"] = f"[llt]\nplugin = {entry_point or package}\n"
        record = "".join(f"{path},{_hash(text)}\n" for path, text in written.items())
        written[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
        for path, text in written.items():
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        importlib.invalidate_caches()

    def add_answer(self, name, metric="answer", **more):
        """Install a sound package with one metric."""
        package = name.replace("-", "_")
        files = {
            "__init__.py": "",
            "metrics.py": ANSWER,
            "registry.toml": declare(metric, f"{package}.metrics:Answer"),
        }
        self.add(name, files, **more)

    def add_broken(self):
        """Install every broken package."""
        for name, (files, _) in UNREADABLE.items():
            self.add(name, files, version="6.6")
        tables = [declare(name, target) for name, (target, _) in UNLOADABLE.items()]
        self.add(
            "load-bad",
            {
                "__init__.py": "",
                "metrics.py": ANSWER,
                "raises.py": "raise RuntimeError('on a bad day')",
                "exits.py": "import sys\nsys.exit(3)",
                "wrong.py": (
                    "from llt_core.interfaces import Metric\n"
                    "class NoMetric: pass\n"
                    "class Abstract(Metric):\n    summary = 'a metric without measure'\n"
                    "def function(): pass\n"
                ),
                "registry.toml": "\n".join(tables),
            },
            version="7.7",
        )


def _hash(text):
    data = text.encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={digest},{len(data)}"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty folder of packages that this process and its children see, and nothing else new."""
    folder, elsewhere = tmp_path / "site", tmp_path / "work"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.delenv("LLT_PLUGINS", raising=False)
    yield Site(folder)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def llt_toml(site):
    """Write ``llt.toml`` into the working folder."""

    def write(text):
        path = Path.cwd() / "llt.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
