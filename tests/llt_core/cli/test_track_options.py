"""``--track`` and ``--no-track``: which trackers a command asks for, and what is refused."""

import pytest

from llt_core.cli.main import main
from llt_core.cli.options import take_how
from llt_core.cli.run import command


def track(*words):
    context = command.make_context("run", ["--task", "digits", *words])
    return take_how(dict(context.params))["track"]


def test_what_the_options_ask_for():
    assert track() is None
    assert track("--no-track") == []
    one, two = track("--track", "mlflow:to=sqlite:///a.db,timeout=3", "--track", "tensorboard")
    assert (one.name, one.parameters) == ("mlflow", {"to": "sqlite:///a.db", "timeout": 3})
    assert (two.name, two.parameters) == ("tensorboard", {})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--track", "mlfow"), "did you mean mlflow"),
        (("--track", "tensorboard:too=x"), "did you mean to?"),
        (("--track", "mlflow:timeout=0"), "cannot take timeout = 0"),
        (("--track", "mlflow", "--no-track"), "at once"),
    ],
)
def test_wrong_requests_end_with_2_before_anything_is_done(words, told, capsys, tmp_path):
    store = ("--store", str(tmp_path / "store"))
    words = ("run", "--task", "digits", "--arch", "mlp", "--metric", "train_loss", *store, *words)
    assert main([*words, "--quiet"]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "store" / "cells").exists()
