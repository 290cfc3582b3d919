"""``llt gc`` on a store that real runs have filled."""

import json

import pytest

from llt_core.cli.main import main
from llt_core.store import Store
from llt_core.store.sweeps import names

FILE = """\
task = "digits"
architecture = "mlp:depth=1,width=4"
metrics = ["train_loss"]
train = { epochs = 1, batch_size = 256 }
models = 2
"""
INLINE = ("--executor", "inline", "--threads", "1", "--quiet")


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "try.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["sweep", "try.toml", *INLINE]) == 0
    run = ["run", "--task", "digits", "--arch", "mlp:depth=1,width=4", "--set", "train.epochs=1"]
    assert main([*run, "--set", "train.batch_size=512", "--metric", "train_loss", *INLINE]) == 0
    return tmp_path


def words(text):
    return " ".join(text.split())


def test_first_it_says_what_would_go(home, capsys):
    capsys.readouterr()
    store = Store(home / "llt-store", create=False)
    everything = set(store.digests())
    assert len(everything) == 6
    assert main(["gc"]) == 0
    assert "nothing to delete" in capsys.readouterr().out
    assert main(["gc", "--older-than", "0", "--unnamed"]) == 0
    text = words(capsys.readouterr().out)
    assert "cells 2 0.0 MiB finished cells that no sweep names" in text
    assert "--yes deletes them" in text
    assert set(store.digests()) == everything
    assert main(["gc", "--older-than", "0", "--unnamed", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    cells = [item for item in document["items"] if item["kind"] == "cells"]
    assert document["deleted"] is False
    assert document["bytes"] == sum(item["bytes"] for item in document["items"]) > 1000
    assert main(["gc", "--older-than", "0", "--unnamed", "--yes"]) == 0
    assert "deleted" in capsys.readouterr().out
    assert everything - set(store.digests()) == {item["path"][-32:] for item in cells}
    assert main(["sweep", "try.toml", "--dry-run"]) == 0
    assert "everything is in the store" in capsys.readouterr().out


def test_a_name_is_forgotten_and_with_it_its_cells(home, capsys):
    store = Store(home / "llt-store", create=False)
    assert main(["gc", "--forget", "try", "--unnamed", "--older-than", "0"]) == 0
    assert names(store) == ["try"]
    assert main(["gc", "--forget", "try", "--unnamed", "--older-than", "0", "--yes"]) == 0
    assert names(store) == []
    assert list(store.digests()) == []
    capsys.readouterr()
    assert main(["gc", "--forget", "try"]) == 2
    assert "knows no sweep 'try'" in capsys.readouterr().err
    assert main(["sweep", "try.toml", *INLINE]) == 0, "and it can be computed again"
    assert len(list(store.digests())) == 4


def test_a_sweep_that_cannot_be_read_stops_unnamed(home, capsys):
    (home / "llt-store" / "sweeps" / "odd.json").write_text("{")
    assert main(["gc", "--unnamed", "--yes"]) == 2
    assert "nobody can tell what 'odd' names" in capsys.readouterr().err
    assert main(["gc", "--yes"]) == 0
