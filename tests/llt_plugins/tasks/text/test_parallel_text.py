"""Two files of one's own."""

import json
import os
import subprocess
import sys

import pytest
import torch

from llt_core.interfaces import DataError
from llt_plugins.tasks.parallel_text import ParallelText

COUNT = 50
SOURCES = [f"das ist satz nummer {n}" for n in range(COUNT)]
TARGETS = [f"this is sentence number {n}" for n in range(COUNT)]


def write(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    write(folder / "all.de", SOURCES)
    write(folder / "all.en", TARGETS)
    return folder


def task(**changes):
    return ParallelText(source="all.de", target="all.en", vocabulary=100, **changes)


def pairs_of(examples):
    at = torch.arange(len(examples))
    return list(zip(examples.sources(at), examples.references(at), strict=True))


def test_a_seeded_part_is_held_out(root):
    data = task().datasets(root)
    assert {name: len(split) for name, split in data.items()} == {
        "train": 40, "validation": 5, "test": 5,
    }  # fmt: skip
    assert tuple(data) == task().describe().splits
    seen = [pair for split in data.values() for pair in pairs_of(split)]
    assert sorted(seen) == sorted(zip(SOURCES, TARGETS, strict=True))
    few = task(pairs=10).datasets(root)
    assert pairs_of(few["train"]) == pairs_of(data["train"])[:10]
    assert pairs_of(few["test"]) == pairs_of(data["test"])


def test_which_pairs_are_held_out_never_changes(root):
    numbers = [int(source.split()[-1]) for source, _ in pairs_of(task().datasets(root)["test"])]
    assert numbers == [27, 35, 40, 38, 2]


def test_files_of_their_own_for_validation_and_test(root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    given = task(
        validation_source=write(elsewhere / "v.de", ["ein satz"]),
        validation_target=write(elsewhere / "v.en", ["a sentence"]),
    )
    assert given.files(root) == (
        root / "all.de", root / "all.en", elsewhere / "v.de", elsewhere / "v.en",
    )  # fmt: skip
    data = given.datasets(root)
    assert [len(data[name]) for name in ("train", "validation", "test")] == [45, 1, 5]
    assert pairs_of(data["validation"]) == [("ein satz", "a sentence")]
    both = given.model_copy(update={"test_source": "all.de", "test_target": "all.en"})
    assert [len(both.datasets(root)[name]) for name in ("train", "test")] == [50, 50]
    with pytest.raises(ValueError, match="test_source and test_target go together"):
        task(test_source="all.de")


def test_the_fingerprint_is_part_of_the_identity(root):
    assert not task().pinned()
    before = task().fingerprint(root)
    write(root / "all.en", [*TARGETS[:-1], "another end"])
    assert task().fingerprint(root) != before
    assert pairs_of(task().datasets(root)["train"])


def test_missing_files_are_named(root):
    with pytest.raises(DataError, match=r"are missing: all\.fr\n") as error:
        ParallelText(source="all.de", target="all.fr").prepare(root)
    assert "task.target=FILE" in error.value.next_step
    with pytest.raises(DataError, match=r"all\.de, all\.en"):
        task().datasets(root / "not-there")


def test_too_few_pairs(root):
    for name in ("all.de", "all.en"):
        write(root / name, ["eins", "zwei"])
    with pytest.raises(DataError, match=r"2 pair\(s\) are too few"):
        task().prepare(root)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("all.de", "\n".join([*SOURCES[:20], "größe", *SOURCES[21:]]).encode("latin1"), 21),
        ("all.en", "\n".join([*TARGETS[:30], "  ", *TARGETS[31:]]).encode(), 31),
        ("all.en", "\n".join([*TARGETS, "one more"]).encode(), COUNT + 1),
        ("all.de", b"", 1),
    ],
)
def test_corrupt_files_are_told_and_nothing_is_cached(root, cache, name, content, line):
    (root / name).write_bytes(content)
    for call in (task().prepare, task().datasets):
        with pytest.raises(DataError) as error:
            call(root)
        assert error.value.where == f"{root / name}, line {line}"
    assert not cache.exists()


def test_blank_lines_can_be_skipped(root):
    write(root / "all.en", [*TARGETS[:30], "  ", *TARGETS[31:]])
    data = task(blank_lines="skip", held_out=0.2).datasets(root)
    seen = [source for split in data.values() for source, _ in pairs_of(split)]
    assert sorted(seen) == sorted(SOURCES[:30] + SOURCES[31:])


def test_the_command_line_tells_corrupt_files_without_a_traceback(root, tmp_path):
    """A real run of llt, with an architecture of the user's own, exits with 2."""
    (tmp_path / "bag.py").write_text(
        "from llt_core.interfaces import Architecture\n"
        "class Bag(Architecture):\n"
        "    summary = 'Never built, for it is the data that is wrong'\n"
        "    accepts = frozenset({'text'})\n"
        "    def build(self, task): raise AssertionError\n"
    )
    (tmp_path / "llt.toml").write_text(
        "[bag]\nkind = 'architecture'\ntarget = 'bag:Bag'\nsummary = 'Never built at all'\n"
    )
    write(root / "all.en", [*TARGETS[:30], "", *TARGETS[31:]])
    command = [
        sys.executable, "-m", "llt_core.cli.main", "run", "--task",
        "parallel_text:source=all.de,target=all.en", "--arch", "bag", "--metric", "train_loss",
        "--set", "train.recipe=quick", "--data-root", str(root), "--store", str(tmp_path / "s"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2, json.dumps([done.stdout, done.stderr])
    assert "the sentence is empty" in done.stderr
    assert f"{root / 'all.en'}, line 31" in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
