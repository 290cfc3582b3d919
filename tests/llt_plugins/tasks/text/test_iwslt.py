"""IWSLT's layout, filled with real sentences: read as torchtext reads it, and never changed."""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile

import pytest
import torch

from llt_core.interfaces import DataError, RequestError
from llt_core.work.data import describe_data
from llt_plugins.tasks.iwslt import Iwslt

pytestmark = pytest.mark.xdist_group("iwslt")
TASK = Iwslt(pairs=150, vocabulary=300)
DE_TEST = "IWSLT16.TED.tst2014.de-en.de.xml"


@pytest.fixture
def copy(standin, tmp_path):
    """Return a copy of the stand-in that a test may break, and its folder of files."""
    root = tmp_path / "data"
    shutil.copytree(standin, root)
    return root, root / "iwslt" / "de-en"


def state(root):
    return {
        path.relative_to(root): (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in root.rglob("*")
    }


def pairs_of(examples):
    at = torch.arange(len(examples))
    return list(zip(examples.sources(at), examples.references(at), strict=True))


def archive(folder, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, "de-en")


def test_every_pair_is_the_one_torchtext_reads(copy):
    root, _ = copy
    before = state(root)
    task = TASK.model_copy(update={"pairs": None})
    task.prepare(root)
    found = task.datasets(root)
    assert state(root) == before, "reading wrote into the user's folder"

    from torchtext.data import RawField
    from torchtext.datasets import IWSLT

    fields = RawField(), RawField()
    fields[0].is_target = fields[1].is_target = False
    splits = IWSLT.splits(exts=(".de", ".en"), fields=fields, root=str(root))
    assert [len(split) for split in splits] == [400, 25, 25]
    for name, split in zip(("train", "validation", "test"), splits, strict=True):
        expected = [(example.src, example.trg) for example in split.examples]
        if name == "train":
            assert sorted(pairs_of(found[name])) == sorted(expected)
        else:
            assert pairs_of(found[name]) == expected


def test_pairs_are_nested_and_in_both_directions(standin):
    every = pairs_of(TASK.model_copy(update={"pairs": None}).datasets(standin)["train"])
    few = pairs_of(TASK.datasets(standin)["train"])
    assert few == every[:150] != sorted(every[:150])
    back = TASK.model_copy(update={"direction": "en-de", "lower": True}).datasets(standin)
    assert pairs_of(back["train"]) == [(en.lower(), de.lower()) for de, en in few]


def test_the_vocabulary_is_of_the_chosen_training_text_and_gives_it_back(standin, cache):
    data = TASK.datasets(standin)
    assert len(list(cache.iterdir())) == 1
    train = data["train"]
    assert {id(split.vocabulary) for split in data.values()} == {id(train.vocabulary)}
    assert len(train.vocabulary) == 300 == TASK.describe().outputs
    for side in (train.source, train.target):
        for start, length, row in zip(side.starts, side.lengths, side.rows, strict=True):
            assert train.decode(side.tokens[start : start + length].tolist()) == side.texts[row]
    # Another test set changes nothing of it.
    other = TASK.model_copy(update={"test": "tst2010"}).datasets(standin)
    assert other["train"].vocabulary == train.vocabulary
    assert pairs_of(other["test"]) != pairs_of(data["test"])


def test_long_sentences_are_left_out_of_training_and_cut_elsewhere(standin):
    full = TASK.datasets(standin)
    task = TASK.model_copy(update={"max_length": 12})
    short = task.datasets(standin)
    lengths = torch.maximum(full["train"].source.lengths, full["train"].target.lengths)
    kept = (lengths <= 13).nonzero().squeeze(1)
    assert 0 < len(kept) < 150
    assert pairs_of(short["train"]) == pairs_of(full["train"].subset(kept))
    assert pairs_of(short["test"]) == pairs_of(full["test"])
    at = torch.arange(25)
    for side in ("source", "target"):
        whole, cut = (getattr(data["test"], side) for data in (full, short))
        assert torch.equal(cut.padded(at), whole.padded(at)[:, :13])
        assert int(cut.lengths.max()) == 13 == task.describe().input_shape[0]
    with pytest.raises(DataError, match="a side of more than 1 tokens"):
        TASK.model_copy(update={"max_length": 1}).datasets(standin)


def test_another_process_gets_the_same_tokens(standin, tmp_path):
    code = """
import hashlib, sys
from pathlib import Path
from llt_plugins.tasks.iwslt import Iwslt
for name, split in Iwslt(pairs=150, vocabulary=300).datasets(Path(sys.argv[1])).items():
    for side in (split.source, split.target):
        tokens = b"".join(x.numpy().tobytes() for x in (side.tokens, side.starts, side.lengths))
        print(name, hashlib.sha256(tokens).hexdigest())
"""
    environment = {**os.environ, "PYTHONHASHSEED": "5", "XDG_CACHE_HOME": str(tmp_path / "other")}
    command = [sys.executable, "-c", code, str(standin)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    here = []
    for name, split in TASK.datasets(standin).items():
        for side in (split.source, split.target):
            parts = (side.tokens, side.starts, side.lengths)
            tokens = b"".join(x.numpy().tobytes() for x in parts)
            here.append(f"{name} {hashlib.sha256(tokens).hexdigest()}")
    assert done.stdout.splitlines() == here


def test_a_standin_is_named_and_never_verified(standin):
    assert not TASK.pinned()
    told = describe_data(TASK, TASK.datasets(standin), standin)
    assert told["verified"] is False
    assert told["files"][-1].endswith("README.stand-in.json")
    assert len(told["files"]) == 7


def test_the_archives_hold_what_the_folder_holds(copy, tmp_path):
    root, folder = copy
    expected = {name: pairs_of(split) for name, split in TASK.datasets(root).items()}
    plain, nested = tmp_path / "plain", tmp_path / "nested"
    archive(folder, plain / "iwslt" / "de-en.tgz")
    (nested / "iwslt").mkdir(parents=True)
    with tarfile.open(nested / "iwslt" / "2016-01.tgz", "w:gz") as tar:
        for name in ("fr/en/fr-en.tgz", "de/en/de-en.tgz"):
            tar.add(plain / "iwslt" / "de-en.tgz", f"2016-01/texts/{name}")
    for data_root in (plain, nested):
        before = state(data_root)
        TASK.prepare(data_root)
        found = {name: pairs_of(split) for name, split in TASK.datasets(data_root).items()}
        assert found == expected
        assert state(data_root) == before
    assert TASK.fingerprint(plain) != TASK.fingerprint(root)


def test_the_fingerprint_follows_every_file(copy):
    root, folder = copy
    seen = {TASK.fingerprint(root)}
    for path in TASK.files(root):
        with path.open("ab") as file:
            file.write(b"\n")
        seen.add(TASK.fingerprint(root))
    assert len(seen) == 1 + 7
    assert folder.is_dir()


def test_what_is_missing_is_named_with_all_ways_on(tmp_path):
    with pytest.raises(DataError) as error:
        TASK.prepare(tmp_path)
    told = str(error.value)
    for part in (
        "train.tags.de-en.de", DE_TEST, "de-en.tgz", "2016-01.tgz", "is dead", "parallel_text",
        "wit3.fbk.eu", "--data-root", str(tmp_path / "iwslt"),
    ):  # fmt: skip
        assert part in told


def test_one_side_missing(copy):
    root, folder = copy
    (folder / "train.tags.de-en.en").unlink()
    with pytest.raises(DataError, match=r"are missing: iwslt/de-en/train\.tags\.de-en\.en\n"):
        TASK.prepare(root)


def test_an_archive_is_no_substitute_for_half_a_folder(copy):
    root, folder = copy
    archive(folder, root / "iwslt" / "de-en.tgz")
    (folder / DE_TEST).unlink()
    with pytest.raises(DataError, match="are missing"):
        TASK.prepare(root)


def edited(path, line, text):
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = text
    path.write_bytes(b"\n".join(lines))


def faults():
    yield "train.tags.de-en.de", 9, "Größe".encode("latin1"), "is not UTF-8"
    yield "train.tags.de-en.en", 9, b"   ", "the sentence is empty"
    yield "train.tags.de-en.en", 9, b"<title>lost</title>", "no translation"
    yield DE_TEST, 2, b"<!DOCTYPE mteval>", "document type"
    yield DE_TEST, 9, b"<seg id='3'> & </seg>", "not well-formed"
    yield DE_TEST, 9, b"<seg id='3'>  </seg>", "the sentence is empty"
    yield DE_TEST, 9, b"", "no translation"


@pytest.mark.parametrize(("name", "line", "text", "what"), list(faults()))
def test_corrupt_files_are_told_before_any_work_and_nothing_is_cached(
    copy, cache, name, line, text, what
):
    root, folder = copy
    edited(folder / name, line, text)
    for call in (TASK.prepare, TASK.datasets):
        with pytest.raises(DataError, match=what) as error:
            call(root)
        assert str(folder) in error.value.where
        if what != "no translation":
            assert error.value.where.startswith(f"{folder / name}, line {line}")
    assert not cache.exists()


@pytest.mark.parametrize("name", ["train.tags.de-en.de", DE_TEST])
def test_empty_files(copy, cache, name):
    root, folder = copy
    (folder / name).write_bytes(b"")
    with pytest.raises(DataError) as error:
        TASK.prepare(root)
    assert error.value.where.startswith(f"{folder / name}, line 1")
    assert not cache.exists()


def broken_archives(folder):
    good = io.BytesIO()
    with tarfile.open(fileobj=good, mode="w:gz") as tar:
        tar.add(folder, "de-en")
    yield good.getvalue()[: len(good.getvalue()) // 2], "cannot be read"
    yield b"no archive at all", "cannot be read"
    yield gzip.compress(b"no archive inside"), "cannot be read"
    bare = io.BytesIO()
    with tarfile.open(fileobj=bare, mode="w:gz") as tar:
        tar.add(folder / DE_TEST, f"de-en/{DE_TEST}")
    yield bare.getvalue(), "lacks 5 file"


def test_broken_archives(copy, cache, tmp_path):
    _, folder = copy
    path = tmp_path / "other" / "iwslt" / "de-en.tgz"
    path.parent.mkdir(parents=True)
    for content, what in broken_archives(folder):
        path.write_bytes(content)
        with pytest.raises(DataError, match=what) as error:
            TASK.prepare(tmp_path / "other")
        assert error.value.where == str(path)
    assert not cache.exists()


def test_a_vocabulary_too_small_is_told_before_any_work(standin):
    with pytest.raises(RequestError, match="cannot hold"):
        Iwslt(vocabulary=64).prepare(standin)


def test_one_set_cannot_be_two_splits():
    with pytest.raises(ValueError, match="the same set, tst2010"):
        Iwslt(validation="tst2010", test="tst2010")
