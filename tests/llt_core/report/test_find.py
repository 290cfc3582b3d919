"""From what a user types to one cell: digests, prefixes, labels, and what is told otherwise."""

import runpy
from pathlib import Path

import pytest

from llt_core.errors import LltError, RequestError
from llt_core.interfaces import Measurement
from llt_core.report import find, label
from llt_core.store import Failure
from llt_core.sweep.plan import PlannedCell

kit = runpy.run_path(str(Path(__file__).with_name("conftest.py")))
make_record, commit = kit["make_record"], kit["commit"]


def told(store, words):
    with pytest.raises(RequestError) as caught:
        find(store, words)
    return str(caught.value)


@pytest.fixture
def two(store):
    """Two cells whose digests share six digits, of two metrics."""
    pair = [make_record(0), make_record(1, metric="llt/cka", parameters={"samples": 64})]
    digests = ("abcdef" + "0" * 26, "abcdef" + "1" * 26)
    return [
        commit(store, record.model_copy(update={"digest": digest}))
        for record, digest in zip(pair, digests, strict=True)
    ]


def test_a_digest_or_enough_of_it(store, two):
    for record in two:
        for words in (record.digest, record.digest[:7], record.digest[:9].upper()):
            assert find(store, words) == record
    one = commit(store, make_record(2))
    assert find(store, one.digest[:4]) == one
    assert find(store, f" {one.digest[:4]}\n") == one


def test_an_ambiguous_prefix_lists_the_choices(store, two):
    text = told(store, "abcdef")
    assert "2 cells answer to 'abcdef'" in text
    assert "abcdef00 test_loss seed 0 (digits · mlp)" in text
    assert "abcdef11 cka(samples=64) seed 1 (digits · mlp)" in text


def test_labels_metrics_and_quantities(store, two):
    test_loss, cka = two
    for words in ("test_loss seed 0", "test_loss"):
        assert find(store, words) == test_loss
    for words in ("cka(samples=64) seed 1", "cka(samples=64)", "cka"):
        assert find(store, words) == cka
    barrier = Measurement(name="curve_barrier", value=1.0)
    curve = commit(store, make_record(3, metric="llt/curve", measurements=(barrier,)))
    assert find(store, "curve_barrier") == curve


def test_an_ambiguous_label_lists_at_most_ten(store):
    for number in range(12):
        commit(store, make_record(number))
    text = told(store, "test_loss")
    assert "12 cells answer" in text
    assert text.count("test_loss seed") == 10
    assert "… 2 more" in text
    assert find(store, "test_loss seed 11").composition["seeds"] == [11]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("tset_loss", ["no cell answers to 'tset_loss'", "did you mean abcdef00 (test_loss"]),
        ("abcdf", ["no cell answers", "did you mean abcdef"]),
        ("abc", ["'abc' is too short for a digest"]),
        ("", ["is empty", "llt results"]),
        ("zebra", ["no cell answers to 'zebra'", "a digest or its first 4", "llt results"]),
    ],
)
def test_what_is_told_when_nothing_fits(store, two, words, says):
    text = told(store, words)
    for part in says:
        assert part in text


def test_an_empty_store(store):
    assert "llt results" in told(store, "abcdef")


def test_a_cell_that_failed_is_told_as_such(store):
    record = make_record(4)
    failure = Failure(
        digest=record.digest,
        cell=record.cell,
        kind="code",
        message="ZeroDivisionError: oh",
        time="",
    )
    file = store.record_failure(failure)
    text = told(store, record.digest[:6])
    assert "it failed: ZeroDivisionError: oh" in text
    assert str(file) in text


def test_an_unreadable_record_is_told_with_its_new_place(store):
    record = commit(store, make_record(4))
    (store.path(record.digest) / "record.json").write_text("{")
    with pytest.raises(LltError, match="cannot be read and was moved aside"):
        find(store, record.digest)
    assert (store.root / "broken" / record.digest).is_dir()


def test_labels_are_those_of_the_plan(trained):
    for record in (
        make_record(0),
        make_record(1, parameters={"samples": 64, "split": "test"}),
        make_record(1, seeds=[0, 1]),
        trained().record,
    ):
        planned = PlannedCell(record.digest, record.cell, record.composition, None, "")
        assert label(record) == planned.label
