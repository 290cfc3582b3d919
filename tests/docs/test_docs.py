"""The documentation against the code: links, commands, snippets, and the reference pages."""

import ast
import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import rich_click as click

from llt_core.cli.main import COMMANDS, load_command
from llt_core.cli.run import _spec
from llt_core.cli.show import TRAINING
from llt_core.interfaces import Measurement
from llt_core.plugins import Catalogue
from llt_core.plugins.finder import Package
from llt_core.plugins.manifest import KINDS, parse_entries, read_manifest
from llt_core.plugins.settings import LOCAL, Settings, read_settings
from llt_core.spec import MeasureCell, SweepSpec, TrainCell
from llt_core.store import Checkpoint, Epoch, Failure, Record, Store
from llt_core.sweep.compose import Composer

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FIXTURE = ROOT / "tests" / "fixture_plugin"
GENERATOR = DOCS / "generate_reference.py"
LLT = Path(sys.executable).parent / "llt"
PAGES = sorted([*DOCS.rglob("*.md"), *(p for p in [ROOT / "README.md"] if p.is_file())])
SHELLS = ("console", "bash", "sh", "shell")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(page):
    return str(page.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def blocks(page, *languages):
    """The fenced blocks of a page in these languages."""
    return [text for found, text in FENCE.findall(page.read_text("utf-8")) if found in languages]


def named_files(page):
    """Blocks whose first line is a comment with a file name; several of one name are joined."""
    files = {}
    for text in blocks(page, "python", "toml"):
        match = re.match(r"# ([\w.-]+\.(?:py|toml))\b", text)
        if match:
            files[match[1]] = files.get(match[1], "") + text
    return files


def commands(page):
    """``(words, whole)`` for each llt command; inline ones may be fragments."""
    text = page.read_text("utf-8")
    lines = []
    for block in blocks(page, *SHELLS):
        joined = block.replace("\\\n", " ")
        lines += [(line.removeprefix("$ "), True) for line in joined.splitlines()]
    lines += [(line, False) for line in re.findall(r"`(llt [^`\n]+)`", FENCE.sub("", text))]
    for line, whole in lines:
        line = re.sub(r"^(\w+=\S+ )+", "", line.strip())
        if not line.startswith("llt "):
            continue
        line = re.sub(r"\$\w+", "1", line)
        words = shlex.split(line, comments=True)
        ends = [at for at, word in enumerate(words) if word in ("|", ">", "&&", ";")]
        yield words[1 : min(ends, default=len(words))], whole


def clean_environment(**more):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LLT_")}
    return kept | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"} | more


def run(words, cwd):
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ------------------------------------------------------------------------- reference


def test_reference_pages_are_current_and_need_no_torch():
    code = f"""
import runpy, sys
sys.argv = ["generate_reference.py", "--check"]
try:
    runpy.run_path({str(GENERATOR)!r}, run_name="__main__")
except SystemExit as end:
    assert "torch" not in sys.modules, "the generator imports torch"
    sys.exit(end.code)
"""
    run([sys.executable, "-c", code], ROOT)


def test_check_names_a_stale_page(tmp_path):
    write = [sys.executable, GENERATOR, "--folder", tmp_path]
    run(write, ROOT)
    run([*write, "--check"], ROOT)
    (tmp_path / "metrics.md").write_text("# Metrics\n")
    done = subprocess.run([*map(str, write), "--check"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "metrics.md" in done.stderr
    assert "make docs" in done.stderr
    assert (tmp_path / "metrics.md").read_text() == "# Metrics\n"


def test_every_field_of_a_record_is_described():
    text = (DOCS / "reference" / "record.md").read_text("utf-8")
    for model in (Record, Epoch, Checkpoint, Failure, Measurement, TrainCell, MeasureCell):
        for field in set(model.model_fields) - {"arrays"}:
            assert f"`{field}`" in text, f"{model.__name__}.{field}"
    for status in get_args(Measurement.model_fields["status"].annotation):
        assert f"`{status}`" in text, status


# ------------------------------------------------------------------------- links


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@each_page
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(found), f"{target}: no such heading"


def test_every_page_can_be_reached():
    seen, todo = set(), [DOCS / "index.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text("utf-8")):
            todo.append((page.parent / target).resolve())
    assert set(DOCS.rglob("*.md")) <= seen


# ------------------------------------------------------------------------- snippets


@each_page
def test_snippets_parse(page):
    for text in blocks(page, "toml"):
        tomllib.loads(text)
    for text in blocks(page, "python"):
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules = [(alias.name, None) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [(node.module, alias.name) for alias in node.names]
            else:
                continue
            for module, name in modules:
                if module.partition(".")[0] in ("llt_core", "llt_plugins"):
                    found = importlib.import_module(module)
                    assert name is None or hasattr(found, name), f"{module} has no {name}"


@each_page
def test_settings_in_toml_are_valid(page, tmp_path):
    for text in blocks(page, "toml"):
        if re.search(r"^task = ", text, re.MULTILINE):
            compose_sweep(text)
        elif "[project]" not in text:
            (tmp_path / "llt.toml").write_text(text, "utf-8")
            read_settings(tmp_path / "llt.toml")


def compose_sweep(text):
    """Read a sweep file with each of its profiles, and compose every grid point."""
    keys = tomllib.loads(text)
    for profile in ("", *keys.get("profiles", {})):
        for point in SweepSpec.of(profile=profile, **keys).points():
            Composer(Catalogue.discover()).compose(point.spec)


@pytest.fixture
def local_plugins(page, tmp_path, monkeypatch):
    """The catalogue of a reader who wrote the page's files and installed the fixture package."""
    files = named_files(page)
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
        monkeypatch.delitem(sys.modules, Path(name).stem, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(FIXTURE)
    mine = {}
    for text in [files[name] for name in ("llt.toml",) if name in files]:
        mine = {key: table for key, table in tomllib.loads(text).items() if "kind" in table}
    source = str(tmp_path / "llt.toml")
    entries = parse_entries(mine, package=LOCAL, version="", source=source)
    packages = []
    for package, manifest in (
        ("llt", ROOT / "registry.toml"),
        ("llt-hello", FIXTURE / "llt_hello" / "registry.toml"),
    ):
        found = parse_entries(
            read_manifest(manifest), package=package, version="0", source=str(manifest)
        )
        packages.append(Package(package, "0", package, tuple(found)))
    settings = Settings(prefer=dict.fromkeys(mine, LOCAL), entries=tuple(entries))
    yield Catalogue(packages, settings)
    for name in files:
        sys.modules.pop(Path(name).stem, None)


@each_page
def test_commands_would_run(page, local_plugins):
    """Options exist; whole ``llt run`` commands name plugins and parameters that fit."""
    for words, whole in commands(page):
        if words[0].startswith("-") or words[0].isupper():  # llt --help, llt COMMAND --help
            continue
        assert words[0] in COMMANDS, words
        command, rest = load_command(words[0]), words[1:]
        if "--help" in rest:
            continue
        if isinstance(command, click.Group) and rest:
            assert rest[0] in command.commands, words
            command, rest = command.commands[rest[0]], rest[1:]
        context = click.Context(command)
        try:
            options = command.make_parser(context).parse_args(list(rest))[0]
            if whole:
                options = command.make_context(words[0], list(rest)).params
        except click.ClickException as error:
            pytest.fail(f"{shlex.join(words)}: {error.format_message()}")
        if words[0] == "run" and whole:
            keys = inspect.signature(_spec).parameters
            Composer(local_plugins).compose(_spec(**{key: options[key] for key in keys}))
        for key in ("task", "arch", "metrics", "perturbations", "metric", "name", "kind"):
            given = options.get(key)
            several = given if isinstance(given, list | tuple) else [given]
            for text in several:
                if isinstance(text, str):
                    known(key, text.partition(":")[0], local_plugins)


def known(key, name, catalogue):
    """Check one name; capitals and dots stand for anything."""
    if name.isupper() or "…" in name or (key, name) == ("name", TRAINING):
        return
    if key == "kind":
        assert name in KINDS
        return
    catalogue.find(name)


# ------------------------------------------------------------------------- whole examples

TINY = ("--arch", "mlp:width=4", "--set", "train.epochs=1", "--threads", "1", "--quiet")


def write_files(page, folder):
    for name, text in named_files(page).items():
        (folder / name).write_text(text, "utf-8")


def test_the_metrics_of_write_a_metric_work(tmp_path):
    write_files(DOCS / "how-to" / "write-a-metric.md", tmp_path)
    (tmp_path / "pyproject.toml").unlink()
    metrics = ("--metric", "weight_norm:order=1", "--metric", "mean_confidence")
    run([LLT, "run", "--task", "digits", *TINY, *metrics], tmp_path)
    pair = ("--models", "2", "--metric", "margin_gap")
    run([LLT, "run", "--task", "digits", *TINY, *pair], tmp_path)
    shown = run([LLT, "show-result", "margin_gap seed 0+1"], tmp_path)
    assert "a first model   b second model" in shown
    records = [
        Store(tmp_path / "llt-store").read(d) for d in Store(tmp_path / "llt-store").digests()
    ]
    found = {m.name: m for record in records for m in record.measurements}
    assert set(found) == {"weight_norm", "mean_confidence", "margin_gap"}
    assert 10 <= found["mean_confidence"].value <= 100
    assert found["mean_confidence"].n == 300
    kit = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    assert "42 passed" in run(kit, tmp_path)
    assert "42 passed" in (DOCS / "how-to" / "write-a-metric.md").read_text("utf-8")


def test_the_tracker_of_track_a_sweep_works(tmp_path):
    page = DOCS / "how-to" / "track-a-sweep.md"
    write_files(page, tmp_path)
    words = ("--task", "digits", "--metric", "test_accuracy", "--track", "diary:failures=false")
    run([LLT, "run", *words, *TINY], tmp_path)
    first, second = (tmp_path / "diary.txt").read_text().splitlines()
    assert first == "train seed 0: done"
    assert second.startswith("test_accuracy seed 0: test_accuracy = ")
    kit = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    (passed,) = re.findall(r"^\d+ passed", run(kit, tmp_path), re.MULTILINE)
    assert passed in page.read_text("utf-8")


def test_the_task_of_write_a_task_works(tmp_path):
    write_files(DOCS / "how-to" / "write-a-task.md", tmp_path)
    (tmp_path / "data").mkdir()
    run([sys.executable, "make_cells.py"], tmp_path)
    words = ("--task", "cells", "--data-root", "data", "--metric", "test_accuracy")
    printed = run([LLT, "run", *words, *TINY], tmp_path)
    assert "800 train, 200 test" in printed
    kit = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    assert "17 passed" in run(kit, tmp_path)
    assert "17 passed" in (DOCS / "how-to" / "write-a-task.md").read_text("utf-8")


def test_the_architecture_of_write_an_architecture_works(tmp_path):
    page = DOCS / "how-to" / "write-an-architecture.md"
    write_files(page, tmp_path)
    words = ("--task", "digits", "--set", "train.epochs=1", "--threads", "1", "--quiet")
    metrics = ("--metric", "test_accuracy", "--metric", "hessian_trace:samples=50")
    printed = run([LLT, "run", *words, "--arch", "patch_net:width=2", *metrics], tmp_path)
    assert "patch_net(width=2)" in printed
    kit = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    assert "18 passed" in run(kit, tmp_path)
    assert "18 passed" in page.read_text("utf-8")


def test_the_perturbations_of_write_a_perturbation_work(tmp_path):
    page = DOCS / "how-to" / "write-a-perturbation.md"
    write_files(page, tmp_path)
    words = ("--perturb", "negatives", "--perturb", "input_noise", "--perturb", "shrink")
    printed = run([LLT, "run", "--task", "digits", *TINY, *words], tmp_path)
    assert "negatives(seed=0, fraction=0.5) · input_noise(" in printed
    shown = run([LLT, "show", "input_noise"], tmp_path)
    assert "strength: works like temperature: the standard deviation" in shown
    kit = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    assert "45 passed" in run(kit, tmp_path)
    assert "45 passed" in page.read_text("utf-8")


def test_the_metric_of_the_readme_works(tmp_path):
    readme = ROOT / "README.md"
    assert "my_metrics.py" in named_files(readme)
    write_files(readme, tmp_path)
    printed = run([LLT, "run", "--task", "digits", *TINY, "--metric", "weight_norm"], tmp_path)
    assert "weight_norm" in printed


def test_provenance_of_a_real_record_is_described(tmp_path):
    run([LLT, "run", "--task", "digits", *TINY, "--metric", "train_loss"], tmp_path)
    text = (DOCS / "reference" / "record.md").read_text("utf-8")
    store = Store(tmp_path / "llt-store")
    for digest in store.digests():
        provenance = store.read(digest).provenance
        for key in (*provenance, *provenance["data"]):
            assert f"`{key}`" in text, key
