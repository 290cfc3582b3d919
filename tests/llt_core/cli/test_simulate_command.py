"""``llt simulate`` on a file."""

import csv
import json

import pytest

from llt_core.cli.main import main
from llt_core.testing.phase_maps import phase_map


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = phase_map("plain", (5, 6), seed=4)
    path = tmp_path / "cells.csv"
    with path.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["width", "learning_rate", *table.columns])
        axes = (axis.values for axis in table.axes)
        writer.writerows(zip(*axes, *(c.values for c in table.columns.values()), strict=True))
    return path


def test_a_table_of_means_and_standard_errors(file, capsys):
    assert main(["simulate", str(file), "--starts", "3", "--budget", "0.3", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert "30 cells with a phase, 3 random starts from seed 0" in captured.out
    assert "9 (30 %)" in captured.out
    assert captured.out.count("±") == 4
    assert not captured.err


def test_the_facts_for_machines(file, capsys):
    line = ["simulate", str(file), "--starts", "2", "--designs", "random", "--seed", "5", "--json"]
    assert main(line) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["measured"] == [6, 9, 12]
    assert list(found["designs"]) == ["random"]
    shares = found["designs"]["random"]["shares"]
    assert found["designs"]["random"]["mean"][0] == pytest.approx((shares[0][0] + shares[1][0]) / 2)
    assert all(0.2 < share <= 1 for share in found["designs"]["random"]["expected"])
    assert main([*line, "--rule", "cka=0.5"]) == 0
    assert json.loads(capsys.readouterr().out)["rule"]["cka"] == 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        ("--budget", "2"),
        ("--designs", "best"),
        ("--rule", "ckaa=1"),
        ("--rule", "cka=high"),
        ("--starts", "0"),
        ("--store", "nowhere"),
    ],
)
def test_what_cannot_be_done_is_told(file, capsys, wrong):
    assert main(["simulate", str(file), *wrong]) == 2
    assert "error:" in capsys.readouterr().err
