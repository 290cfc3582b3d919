"""What several commands do alike with their options."""

import pytest

from llt_core.cli.counting import counting
from llt_core.cli.main import main
from llt_core.cli.options import store_if_there
from llt_core.store import Store
from llt_core.store.cells import StoreError


def test_the_usual_store_may_be_missing_and_one_that_is_named_may_not(tmp_path, monkeypatch):
    monkeypatch.setenv("LLT_STORE", str(tmp_path / "usual"))
    assert store_if_there(None) is None
    Store(tmp_path / "usual")
    assert store_if_there(None).root == tmp_path / "usual"
    with pytest.raises(StoreError, match="there is no store here"):
        store_if_there(str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("command", [["phases"], ["simulate"], ["report"], ["plot", "--sweep"]])
def test_a_store_that_is_not_there_is_told(command, tmp_path, capsys):
    (tmp_path / "table.csv").write_text("width,batch_size,train_loss\n1,2,0.5\n")
    line = [*command, str(tmp_path / "table.csv"), "--store", str(tmp_path / "nowhere")]
    assert main(line) == 2
    assert "there is no store here" in capsys.readouterr().err


def test_counting_tells_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr("llt_core.cli.counting.PLAIN_EVERY", 0.0)
    with counting("cells read") as told:
        told(1000, 2000)
        told(3)
    with counting("cells read", quiet=True) as told:
        told(4)
    assert capsys.readouterr().err.splitlines() == ["1,000 of 2,000 cells read", "3 cells read"]
