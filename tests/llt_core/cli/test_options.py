"""What several commands do alike with their options."""

import json

import click
import pytest

from llt_core.cli.counting import counting
from llt_core.cli.main import COMMANDS, load_command, main
from llt_core.cli.options import store_if_there
from llt_core.spec import TrainingRecipe
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


@pytest.mark.parametrize(
    "line",
    [
        ["run", "--task", ""],
        ["run", "--task", "digits", "--arch", ""],
        ["run", "--task", "digits", "--arch="],
        ["run", "--task", "digits", "--set", ""],
        ["run", "--task", "digits", "--metric", "cka", "--metric", ""],
        ["run", "--task", "digits", "--store", ""],
        ["run", "--task", "digits", "--executor", ""],
        ["sweep", "grid.toml", "--profile", ""],
        ["sweep", ""],
        ["results", "--sweep", ""],
    ],
)
def test_a_shell_variable_that_is_not_set_is_no_default(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*line, "--dry-run"] if line[0] == "run" else line) == 2
    assert " is empty" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        ["run", "--task", "digits", "--arch", "mlp", "--arch", "vgg11"],
        ["run", "--task", "digits", "--task", "svhn"],
        ["sweep", "grid.toml", "--name", "a", "--name", "a"],
        ["export", "-o", "a.csv", "--output", "b.csv"],
        ["import", "table", "a.csv", "--name", "a", "--name", "b"],
    ],
)
def test_one_of_two_values_is_not_dropped_in_silence(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(line) == 2
    assert "is given 2 times" in capsys.readouterr().err


def test_what_may_be_repeated_may_be_repeated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ["run", "--task", "digits", "--metric", "cka", "--metric", "train_loss", "--models", "2"]
    assert main([*line, "--set", "train.epochs=1", "--set", "seed=1", "--dry-run", "-q", "-q"]) == 0


def test_a_misspelt_command_is_recognised(capsys):
    assert main(["runn", "--task", "digits"]) == 2
    assert "did you mean run?" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_fit_on_a_narrow_terminal(name):
    context = click.Context(load_command(name), info_name=f"llt {name}")
    lines = (context.command.help or "").splitlines()
    examples = [line.strip() for line in lines if line.startswith("  llt ")]
    assert [line for line in examples if len(line) > 76] == []


def test_numbers_are_called_as_people_call_them(capsys):
    assert main(["run", "--task", "digits", "--models", "many"]) == 2
    assert "'many' is not a valid whole number" in capsys.readouterr().err


def test_show_train_lists_every_setting_and_recipe(capsys):
    assert main(["show", "train", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in shown["settings"]] == list(TrainingRecipe.model_fields)
    assert shown["recipes"]["quick_small"]["epochs"] == 15
    assert main(["show", "train"]) == 0
    text = capsys.readouterr().out
    assert "learning_rate" in text
    assert "betas=[0.9, 0.98]" in text, "as --set takes it"
