"""Text to try the tasks on: a few lines of our own, and real text in IWSLT's layout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("LLT_SHARED", Path(__file__).resolve().parents[4] / "../shared"))
TOOL = SHARED / "tools" / "make_iwslt_standin.py"
DING = Path("/usr/share/trans/de-en")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Give each test a cache folder of its own, and return where vocabularies will lie."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "llt" / "vocabularies"


@pytest.fixture(scope="session")
def standin(tmp_path_factory):
    """Return a data root with a stand-in for IWSLT 2016, made of real sentences."""
    if not TOOL.is_file() or not DING.is_file():
        pytest.skip("needs make_iwslt_standin.py and the Debian package trans-de-en")
    root = tmp_path_factory.mktemp("standin")
    command = [sys.executable, TOOL, root, "--train", "400", "--held-out", "25"]
    subprocess.run(command, check=True, capture_output=True)
    return root
