"""Logs of cells: where they lie and how their ends are read."""

import pytest

from llt_core.store import Store
from llt_core.store.logs import log_file, read_log


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_a_cell_without_a_log_has_nothing_to_say(store):
    assert read_log(store, "abc") == ""
    assert not log_file(store, "abc").parent.exists()


def test_all_of_a_log_or_its_end(store):
    file = log_file(store, "abc")
    assert file == store.root / "logs" / "abc.log"
    file.parent.mkdir()
    file.write_text("one\ntwo\nthree\n")
    assert read_log(store, "abc") == "one\ntwo\nthree\n"
    assert read_log(store, "abc", 2) == "two\nthree\n"
    assert read_log(store, "abc", 9) == "one\ntwo\nthree\n"
    assert read_log(store, "abc", 0) == ""


def test_bytes_that_are_no_text_are_shown_all_the_same(store):
    file = log_file(store, "abc")
    file.parent.mkdir()
    file.write_bytes(b"good\n\xff\xfe bad\n")
    assert read_log(store, "abc").startswith("good\n")
    assert "bad" in read_log(store, "abc", 1)
