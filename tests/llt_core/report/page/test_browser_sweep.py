"""The page of a real sweep, made by the command line: the quickstart in miniature."""

from pathlib import Path

import numpy as np
import pytest

from llt_core.analysis import classify
from llt_core.cli.main import main
from llt_core.store import Store
from llt_core.store.tables import open_table

pytestmark = pytest.mark.browser

QUICKSTART = Path(__file__).parents[4] / "experiments" / "quickstart.toml"
NAME = "quickstart-mini"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The store of the quickstart's four grid points."""
    folder = tmp_path_factory.mktemp("quickstart") / "store"
    words = ["sweep", QUICKSTART, "--profile", "mini", "--store", folder, "--threads", "1", "-q"]
    assert main([str(word) for word in words]) == 0
    return Store(folder, create=False)


def test_the_quickstart_sweep(store, tmp_path, open_page):
    file = tmp_path / "report.html"
    words = ["report", NAME, "--store", store.root, "-o", file, "--quiet"]
    assert main([str(word) for word in words]) == 0
    table = open_table(NAME, store)
    opened = open_page(file.read_text(encoding="utf-8"))
    page = opened.page
    assert page.inner_text("h1") == "Digits: width of a ResNet-18 against batch size"
    assert page.inner_text("#origin") == f"Measured by llt, sweep {NAME}."
    found = opened.csv()
    assert [row["phase"] for row in found] == [p or "undetermined" for p in classify(table).phases]
    for name, column in table.columns.items():
        read = np.array([float(row[name]) if row[name] else np.nan for row in found])
        np.testing.assert_array_equal(read, column.values)
    titles = page.locator("#cell .figure-title").all_inner_texts()
    assert "Error along the path · error (percent)" in titles
    assert "Training loss · loss (nats)" in titles
    facts = page.locator("#cell .group .fact-list").inner_text()
    assert "0, 1" in facts
    assert "torch" in facts
    for row in range(4):
        page.click(f"#table tr[data-row='{row}'] td:nth-child(2)")
        opened.settle()
        assert page.inner_text("#cell-title") == table.label(row)
        assert page.locator("#cell .small-figure").count() >= 4
