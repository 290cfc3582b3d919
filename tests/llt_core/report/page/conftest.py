"""Tables to make pages of, and a real browser to open them in."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llt_core.analysis import Axis, CellTable, Column

SHARED = Path(os.environ.get("LLT_SHARED", Path(__file__).resolve().parents[4] / "../shared"))
PUBLISHED = {
    "lr_decay": {
        "train_loss_mean": ("train_loss", "nats"),
        "train_acc_mean": ("train_accuracy", "percent"),
        "test_loss_mean": ("test_loss", "nats"),
        "test_acc_mean": ("test_accuracy", "percent"),
        "top_eig_mean": ("hessian_top_eigenvalue", "nats"),
        "trace_mean": ("hessian_trace", "nats"),
        "cka_softmax_mean": ("cka", ""),
        "l2_mean": ("l2_distance", ""),
        "mc_train_err": ("mode_connectivity", "percent"),
        "mc_test_err": ("mode_connectivity_test_error", "percent"),
    },
    "constant_lr": {
        "test_acc": ("test_accuracy", "percent"),
        "train_acc": ("train_accuracy", "percent"),
        "test_loss": ("test_loss", "nats"),
        "train_loss": ("train_loss", "nats"),
        "cka_softmax": ("cka", ""),
        "log_trace": ("hessian_trace", "nats"),
        "mc_train_err": ("mode_connectivity", "percent"),
        "mc_peak": ("mode_connectivity_peak", "percent"),
    },
}

OUTSIDE = """
() => [...document.querySelectorAll('main *')]
  .filter((node) => !node.closest('.table-scroll, .scroll, .unseen'))
  .filter((node) => node.getBoundingClientRect().right > innerWidth + 1)
  .map((node) => node.outerHTML.slice(0, 120))
"""
CONTRAST = """
() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const found = numbers(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const bad = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    const apart = node.closest('script, style, :disabled, .letters, .unseen');
    if (!walk.currentNode.data.trim() || !node.checkVisibility() || apart) continue;
    const style = getComputedStyle(node);
    const ink = light(numbers(node.closest('svg') ? style.fill : style.color));
    const back = light(ground(node));
    const ratio = (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05);
    if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} ${walk.currentNode.data.slice(0, 40)}`);
  }
  return bad;
}
"""


def read_published(which: str) -> CellTable:
    path = SHARED / "published" / f"resnet18_cifar10_{which}.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    rows = list(csv.DictReader(path.open()))
    columns = {}
    for head, (name, unit) in PUBLISHED[which].items():
        values = np.array([float(row[head]) for row in rows])
        values = np.exp(values) if head.startswith("log_") else values
        columns[name] = Column(name, values, unit)
    curve = [head for head in rows[0] if head.startswith("curve_tr_err_t")]
    for head in curve:
        name = head.replace("tr_err", "train_error")
        columns[name] = Column(name, np.array([float(row[head]) for row in rows]), "percent")
    axes = (
        Axis("width", tuple(int(row["width"]) for row in rows), "load"),
        Axis("batch_size", tuple(int(row["batch_size"]) for row in rows), "temperature"),
    )
    models = np.full(len(rows), 5)
    return CellTable(f"published {which}", axes, columns, f"published results, {which}", models)


@pytest.fixture(scope="session")
def decay() -> CellTable:
    """The 91 published cells with learning-rate decay."""
    return read_published("lr_decay")


@pytest.fixture(scope="session")
def constant() -> CellTable:
    """The 169 published cells with a constant learning rate."""
    return read_published("constant_lr")


@pytest.fixture(scope="session")
def make_table() -> Callable[..., CellTable]:
    """A grid of random cells, some of their values missing or infinite."""

    def make(
        wide: int = 6, high: int = 5, seed: int = 0, missing: float = 0.1, name: str = "grid"
    ) -> CellTable:
        rng = np.random.default_rng(seed)
        rows = wide * high
        draws = {
            "train_loss": ("nats", 10 ** rng.uniform(-4, 1, rows)),
            "hessian_trace": (
                "nats",
                np.exp(rng.uniform(3, 9, rows)) * rng.choice([1, 1, 1, -1], rows),
            ),
            "mode_connectivity": ("percent", rng.normal(0, 3, rows)),
            "cka": ("", rng.uniform(0.3, 1, rows)),
            "test_accuracy": ("percent", rng.uniform(40, 95, rows)),
            "train_accuracy": ("percent", rng.uniform(90, 100, rows)),
        }
        columns = {}
        for column, (unit, values) in draws.items():
            gone = rng.random(rows) < missing
            values = np.where(gone, np.nan, values)
            if column == "train_loss" and missing:
                values[0] = np.inf
            columns[column] = Column(
                column,
                values,
                unit,
                np.where(gone, np.nan, np.abs(values) / 20),
                np.where(gone, 0, 5),
                tuple("undefined: 2 of 2" if lost else "" for lost in gone),
            )
        axes = (
            Axis("architecture.width", tuple(2 ** (row % wide) for row in range(rows)), "load"),
            Axis(
                "train.batch_size",
                tuple(16 * 2 ** (row // wide) for row in range(rows)),
                "temperature",
            ),
        )
        if wide > 20 or high > 20:
            axes = (
                Axis("architecture.width", tuple(row % wide + 1 for row in range(rows)), "load"),
                Axis(
                    "train.weight_decay",
                    tuple((row // wide + 1) / 1e4 for row in range(rows)),
                    "temperature",
                ),
            )
        return CellTable(name, axes, columns, "llt", np.full(rows, 5))

    return make


@dataclass
class Opened:
    """A page in the browser, and what it did there."""

    page: Any
    complaints: list[str]
    requests: list[str]

    def csv(self) -> list[dict[str, str]]:
        """Return what the download button gives."""
        with self.page.expect_download() as waiting:
            self.page.click("#download")
        text = Path(waiting.value.path()).read_text(encoding="utf-8")
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def settle(self) -> None:
        """Wait until what was changed is drawn."""
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def set_threshold(self, name: str, value: object) -> None:
        self.page.fill(f"#threshold-{name}", str(value))
        self.page.dispatch_event(f"#threshold-{name}", "change")
        self.settle()

    def first_paint(self) -> float:
        """Return the seconds until the first text or picture was on the screen."""
        entry = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
        # The page forbids what wait_for_function does: to evaluate a text again and again.
        for _ in range(100):
            if (at := self.page.evaluate(entry)) is not None:
                return float(at) / 1000
            self.page.wait_for_timeout(50)
        raise AssertionError("nothing was drawn")

    def drawn_cells(self, where: str) -> int:
        """Return how many rectangles the paths of a map draw."""
        paths = self.page.locator(f"{where} .cells path:not(.inferred)").evaluate_all(
            "paths => paths.map((path) => path.getAttribute('d'))"
        )
        return sum(path.count("M") for path in paths)

    def cards(self) -> dict[str, int]:
        """Return the counts of the cards of phases."""
        found = self.page.locator("#phases .phase").evaluate_all(
            "cards => cards.map((card) => [card.dataset.phase, Number(card.dataset.count)])"
        )
        return dict(found)

    def drag(
        self, selector: str, start: tuple[float, float], end: tuple[float, float], steps: int = 4
    ) -> None:
        """Drag over an element, between places by shares of its width and height."""
        mouse = self.page.mouse
        mouse.move(*self.centre(selector, *start))
        mouse.down()
        mouse.move(*self.centre(selector, *end), steps=steps)
        mouse.up()
        self.settle()

    @property
    def shown(self) -> str:
        """The name of the cell whose numbers are shown."""
        return str(self.page.inner_text("#cell-title"))

    def wider_than_the_screen(self) -> list[str]:
        """Return what sticks out on the right, tables that scroll by themselves apart."""
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        return self.page.evaluate(OUTSIDE)

    def hard_to_read(self) -> list[str]:
        """Return the texts whose contrast is below 4.5, each with its contrast."""
        return self.page.evaluate(CONTRAST)

    def centre(self, selector: str, x: float, y: float) -> tuple[float, float]:
        """Return a place on the screen, by shares of an element's width and height."""
        self.page.locator(selector).scroll_into_view_if_needed()
        box = self.page.locator(selector).bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a window."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium here")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Open a page's text from disk; in the end it must have been quiet and alone."""
    opened: list[Opened] = []

    def start(text: str, *, width: int = 1440, height: int = 900, **options: Any) -> Opened:
        file = tmp_path / f"page{len(opened)}.html"
        file.write_text(text, encoding="utf-8")
        viewport = {"width": width, "height": height}
        page = browser.new_context(viewport=viewport, **options).new_page()
        found = Opened(page, [], [])
        opened.append(found)
        page.on("console", lambda message: found.complaints.append(message.text))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.on("request", lambda request: found.requests.append(request.url))
        page.on("dialog", lambda dialog: found.complaints.append(f"dialog {dialog.message}"))
        page.goto(file.as_uri())
        found.settle()
        return found

    yield start
    for number, found in enumerate(opened):
        own = (tmp_path / f"page{number}.html").as_uri()
        words = re.findall(r"\b(?:null|NaN)\b|\[object", found.page.inner_text("body"))
        found.page.context.close()
        assert not words
        assert not found.complaints
        assert [url for url in found.requests if not url.startswith(("blob:", "data:"))] == [own]
