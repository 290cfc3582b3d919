"""The commands of "Draw phase diagrams" that need no sweep, and its snippet."""

import os
import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest

from llt_core.cli.main import main

SHARED = Path(os.environ.get("LLT_SHARED", Path(__file__).resolve().parents[2] / "../shared"))
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "draw-phase-diagrams.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "published").is_dir(), reason="no published tables")
def test_every_command_on_a_table_draws_a_file_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLT_STORE", raising=False)
    for name in ("lr_decay", "constant_lr"):
        shutil.copy(SHARED / "published" / f"resnet18_cifar10_{name}.csv", f"{name}.csv")
    blocks = FENCE.findall(PAGE.read_text("utf-8"))
    lines = [
        line for language, text in blocks if language == "console" for line in text.splitlines()
    ]
    words = [shlex.split(line.removeprefix("$ llt ")) for line in lines]
    of_tables = [command for command in words if "lr_decay.csv" in command]
    assert len(of_tables) == 7
    for command in of_tables:
        assert main(command) == 0, capsys.readouterr().err
    drawn = {path.name for path in tmp_path.iterdir() if path.suffix != ".csv"}
    assert len(drawn) == 7
    (snippet,) = [text for language, text in blocks if language == "python"]
    (tmp_path / "snippet.py").write_text(snippet, "utf-8")
    capsys.readouterr()
    runpy.run_path("snippet.py")
    assert float(capsys.readouterr().out) == pytest.approx(0.78, abs=0.01)  # the largest CKA
    assert (tmp_path / "mine.png").is_file()
