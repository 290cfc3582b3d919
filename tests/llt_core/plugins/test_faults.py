"""How the faults of a plugin's author are told: the class, the line, and what was expected."""

import json

import pytest

import llt_core
from llt_core.cli.tables import print_run
from llt_core.interfaces import Architecture, Metric, RequestError
from llt_core.interfaces.declarations import misdeclared
from llt_core.interfaces.executor import describe_failure
from llt_core.plugins import Catalogue
from llt_core.plugins.errors import BrokenPluginError
from llt_core.plugins.loader import load
from llt_core.plugins.probe import together
from llt_core.testing import ArchitectureConformance, MetricConformance

HOW = {"train": {"epochs": 1, "batch_size": 512}, "compute": {"threads": 1, "device": "cpu"}}

AUTHOR = """
from llt_core.interfaces import (
    Architecture, DataPerturbation, Measurement, Metric, Quantity, WeightPerturbation, parameter,
)


class One(Metric):
    summary = "does something it should not"
    returns = (Quantity(name="one", unit="", description="x"),)
    how: str = parameter("number", description="what it returns")

    def measure(self, context):
        match self.how:
            case "number":
                return 3.0
            case "nothing":
                return None
            case "text":
                return [Measurement(name="one", value="high")]
            case "raises":
                return [Measurement(name="one", value=1 / 0)]


class Nothing(WeightPerturbation):
    summary = "returns nothing"
    amount: float = parameter(0.5, description="x")

    @property
    def strength(self):
        return self.amount

    def apply(self, subject, generator):
        subject.zero_grad()


class OneSplit(DataPerturbation):
    summary = "returns one split"

    @property
    def strength(self):
        return 1.0

    def apply(self, subject, generator):
        return subject["train"]


class NoNet(Architecture):
    summary = "builds nothing"

    def build(self, task):
        return None
"""
FEW = '''
from llt_plugins.tasks.digits import Digits


class Few(Digits):
    """Digits, said to be three."""

    def describe(self):
        return super().describe().model_copy(update={"outputs": 3})
'''


@pytest.fixture
def author(site, llt_toml):
    """Write files beside an ``llt.toml`` that names their classes, each by its own name."""

    def write(*classes, **files):
        tables = [
            site.declare(c.lower(), f"{m}:{c}", kind) for m, c, kind in map(str.split, classes)
        ]
        folder = llt_toml("\n".join(tables)).parent
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text, encoding="utf-8")

    return write


@pytest.fixture
def written(author):
    author(
        "authored One metric",
        "authored Nothing perturbation",
        "authored OneSplit perturbation",
        "authored NoNet architecture",
        "fewer Few task",
        authored=AUTHOR,
        fewer=FEW,
    )


def failure(task="digits", metrics=(), **request):
    """Run it, and return what the one cell that failed says."""
    asked = {"architecture": "mlp:width=2,depth=1"} | request
    (first, *_) = llt_core.run(task, list(metrics), store="store", **HOW, **asked).failed
    return first.message


ONE = ["where: authored.One.measure", "expected: a list: one Measurement each of one"]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"metrics": ["one"]}, ["the metric One returned 3.0", *ONE]),
        ({"metrics": ["one:how=nothing"]}, ["the metric One returned None", *ONE]),
        (
            {"metrics": ["one:how=text"]},
            [
                "Measurement.value cannot be 'high'",
                "expected a number",
                "One.measure at authored.py:19",
            ],
        ),
        (
            {"metrics": ["one:how=raises"]},
            [
                "ZeroDivisionError: division by zero",
                "where: authored.One.measure at authored.py:21",
            ],
        ),
        (
            {"perturbations": ["nothing"]},
            [
                "Nothing returned None",
                "where: authored.Nothing.apply",
                "expected: the changed model",
            ],
        ),
        (
            {"perturbations": ["onesplit"]},
            ["OneSplit returned a TensorExamples", "expected: the splits train, test"],
        ),
        (
            {"architecture": "nonet"},
            ["NoNet returned None", "authored.NoNet.build", "expected: a torch.nn.Module"],
        ),
        (
            {"task": "few"},
            ["labels from 0 to 9", "3 outputs", "fewer.Few.describe", "outputs=10"],
        ),
    ],
)
def test_a_breach_of_contract_is_a_sentence(written, request_, words):
    said = failure(**request_)
    for word in words:
        assert word in said


def subclass(base, **attributes):
    return type("Wrong", (base,), {"summary": "x", "__module__": "authored", **attributes})


@pytest.mark.parametrize(
    ("base", "attributes", "words"),
    [
        (Metric, {}, "Wrong declares no returns; expected a tuple with a Quantity"),
        (Metric, {"returns": ("a",)}, "Wrong.returns is ('a',); expected a tuple"),
        (Metric, {"scope": "pairs"}, "Wrong.scope is 'pairs'; expected 'model', 'pair' or 'set'"),
        (Metric, {"needs": "test"}, "Wrong.needs is 'test'; expected Needs("),
        (Architecture, {"accepts": frozenset({"images"})}, "Wrong.accepts is"),
        (Architecture, {"accepts": "image"}, "expected a frozenset of image and text"),
        (Architecture, {"load_field": "width"}, "Wrong.load_field is 'width'"),
        (Architecture, {"version": "2"}, "Wrong.version is '2'; expected a whole number"),
    ],
)
def test_a_wrong_declaration_is_a_sentence_here_and_in_the_kit(base, attributes, words):
    cls = subclass(base, **attributes)
    assert words in misdeclared(cls)
    kit = MetricConformance if base is Metric else ArchitectureConformance
    cls.__abstractmethods__ = frozenset()
    checks = type("Checks", (kit,), {"component": cls()})()
    with pytest.raises(AssertionError) as caught:
        checks.setup_method()
    assert words in str(caught.value)


def test_an_architecture_reads_images_unless_it_says_otherwise():
    assert misdeclared(subclass(Architecture)) == ""
    assert Architecture.accepts == {"image"}


def test_a_wrong_declaration_is_told_before_anything_is_planned(author):
    pairs = AUTHOR.replace(
        "    returns = (Quantity", '    scope = "pairs"\n    returns = (Quantity', 1
    )
    author("paired One metric", paired=pairs)
    with pytest.raises(BrokenPluginError) as caught:
        llt_core.run("digits", ["one"], models=2, store="store", **HOW)
    assert "the metric 'one' is broken: One.scope is 'pairs'" in caught.value.what
    assert caught.value.where == "paired.py"
    assert caught.value.next_step == "correct paired.py"


UNANNOTATED = AUTHOR.replace("    how: str = ", "    power = 2\n    how: str = ")
UNDESCRIBED = AUTHOR.replace(', description="what it returns"', "")


@pytest.mark.parametrize(
    ("module", "text", "words", "where", "line"),
    [
        ("bare", UNANNOTATED, "non-annotated attribute", "class One(Metric):", 7),
        ("undescribed", UNDESCRIBED, "'description'", 'how: str = parameter("number")', 10),
        (
            "garbled",
            AUTHOR.replace("match self.how:", "match self.how"),
            "SyntaxError",
            "match",
            13,
        ),
    ],
)
def test_what_breaks_a_file_is_told_once_with_its_line(author, module, text, words, where, line):
    author(f"{module} One metric", f"{module} NoNet architecture", **{module: text})
    with pytest.raises(BrokenPluginError) as caught:
        llt_core.run("digits", ["one"], store="store", **HOW)
    assert words in caught.value.what
    assert "errors.pydantic.dev" not in str(caught.value)
    assert caught.value.where.startswith(f"{module}.py:{line}: {where}")
    assert caught.value.next_step == f"correct {module}.py:{line}"
    reasons = {}
    for entry in Catalogue.discover().settings.entries:
        with pytest.raises(BrokenPluginError) as caught:
            load(entry)
        reasons[entry.name] = caught.value.reason
    (told,) = together(reasons)
    assert told.startswith("one, nonet: ")
    assert f"{module}.py:{line}: {where}" in told


def test_a_device_is_known_by_name_before_anything_is_planned(written):
    with pytest.raises(RequestError) as caught:
        llt_core.run("no_such_task", store="store", compute={"device": "gpu"})
    assert caught.value.what == "no device is called 'gpu'"
    assert caught.value.expected == "auto, cpu, cuda, cuda:N or mps"


def test_the_table_of_a_run_names_the_log_of_what_failed(written, capsys):
    result = llt_core.run(
        "digits", ["one:how=raises"], architecture="mlp:width=2,depth=1", store="store", **HOW
    )
    print_run(result)
    digest = result.failed[0].planned.digest
    assert f"next: llt logs {digest[:6]} --store {result.store}\n" in capsys.readouterr().out


def test_an_error_outside_every_plugin_has_no_place():
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("{")
    assert "where" not in describe_failure(caught.value)["message"]
