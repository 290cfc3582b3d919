"""A digest means the same cell today and next year: literal digests, and what moves them."""

import json
import subprocess
import sys

import pytest

from llt_core.errors import RequestError
from llt_core.plugins import Catalogue
from llt_core.spec import MeasureCell, Named, PluginRef, RunSpec, TrainCell, digest, resolve_recipe
from llt_core.spec.identity import canonical
from llt_core.sweep import make_plan

PLAIN = TrainCell(
    task=PluginRef(name="llt/digits", version=1),
    architecture=PluginRef(name="llt/resnet18", version=1),
    training=PluginRef(name="recipe", version=1),
    seed=0,
)
RICH = TrainCell(
    task=PluginRef(name="llt/svhn", version=1, parameters={"verify": False}),
    data="sha256:" + "0123456789abcdef" * 4,
    architecture=PluginRef(name="llt/resnet18", version=1, parameters={"width": 16}),
    perturbations=(
        PluginRef(name="llt/label_noise", version=1, parameters={"fraction": 0.1}),
        PluginRef(name="llt/data_subset", version=1, parameters={"fraction": 0.5, "seed": 3}),
    ),
    training=PluginRef(
        name="recipe",
        version=1,
        parameters={"batch_size": 64, "milestones": [0.5, 0.75], "schedule": "step"},
    ),
    seed=4,
)
MEASURE = MeasureCell(
    metric=PluginRef(name="llt/hessian_trace", version=1, parameters={"samples": 500}),
    models=("2760e88dbbfb77ef8c9bca8a0999c5e5",),
)
PAIR = MeasureCell(
    metric=PluginRef(name="stranger/distance", version=7),
    models=("2760e88dbbfb77ef8c9bca8a0999c5e5", "0123456789abcdef0123456789abcdef"),
)
PINNED = {
    "a1b6a36009d523519a07122f1fca5694": PLAIN,
    "a3d4f3bc838eb99c537fa2d719c210c8": RICH,
    "936de61252f4d1d2261cc6d8511f28f7": MEASURE,
    "f8e05dd3b4a4f927065ca6524a554733": PAIR,
}


@pytest.mark.parametrize(("expected", "cell"), PINNED.items())
def test_pinned(expected, cell):
    assert digest(cell) == expected, (
        "this digest changed, so every result stored under the old one is lost: "
        "undo the change, or raise IDENTITY_VERSION and say so in CHANGELOG.md"
    )


def test_another_process_with_another_hash_seed_agrees():
    script = (
        "import sys; from llt_core.spec import MeasureCell, TrainCell, digest\n"
        "print(digest(TrainCell.model_validate_json(sys.argv[1])))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script, RICH.model_dump_json()],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {digest(RICH)}


def test_order_of_fields_and_of_parameters_does_not_matter():
    tree = json.loads(RICH.model_dump_json())

    def turned(value):
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return value

    again = TrainCell.model_validate(turned(tree))
    assert list(turned(tree)) != list(tree)
    assert digest(again) == digest(RICH)


def change(path, value):
    tree = json.loads(RICH.model_dump_json())
    *heads, last = path
    inner = tree
    for head in heads:
        inner = inner[head]
    inner[last] = value
    return TrainCell.model_validate(tree)


CHANGES = {
    "seed": (("seed",), 5),
    "data": (("data",), "sha256:" + "1" * 64),
    "no data": (("data",), None),
    "task": (("task", "name"), "other/svhn"),
    "task version": (("task", "version"), 2),
    "task parameter": (("task", "parameters"), {}),
    "architecture": (("architecture", "name"), "llt/resnet34"),
    "architecture version": (("architecture", "version"), 2),
    "architecture parameter": (("architecture", "parameters", "width"), 17),
    "perturbation parameter": (("perturbations", 0, "parameters", "fraction"), 0.2),
    "perturbation version": (("perturbations", 1, "version"), 2),
    "no perturbations": (("perturbations",), []),
    "recipe version": (("training", "version"), 2),
    "recipe setting": (("training", "parameters", "batch_size"), 65),
    "recipe list": (("training", "parameters", "milestones"), [0.75, 0.5]),
}


def test_every_field_moves_the_digest():
    cells = {name: change(*what) for name, what in CHANGES.items()}
    swapped = RICH.model_copy(update={"perturbations": RICH.perturbations[::-1]})
    digests = [digest(RICH), digest(swapped), *map(digest, cells.values())]
    assert len(set(digests)) == len(CHANGES) + 2


def test_metric_and_models_move_the_digest_of_a_measurement():
    ref = PAIR.metric
    others = [
        PAIR.model_copy(update={"metric": ref.model_copy(update={"version": 8})}),
        PAIR.model_copy(update={"metric": ref.model_copy(update={"name": "llt/distance"})}),
        PAIR.model_copy(update={"metric": ref.model_copy(update={"parameters": {"samples": 1}})}),
        PAIR.model_copy(update={"models": PAIR.models[::-1]}),
        PAIR.model_copy(update={"models": PAIR.models[:1]}),
    ]
    assert len({digest(PAIR), *map(digest, others)}) == len(others) + 1


def test_train_and_measure_cells_cannot_share_a_digest():
    assert '"kind":"train"' in canonical(PLAIN)
    assert '"kind":"measure"' in canonical(MEASURE)


def test_canonical_text_is_ascii_without_nan():
    named = PLAIN.model_copy(update={"task": PluginRef(name="llt/größe", version=1)})
    assert canonical(named).isascii()
    bad = PLAIN.model_copy(update={"task": PluginRef(name="t", version=1, parameters={"x": 1e999})})
    with pytest.raises(RequestError, match="infinite or not a number"):
        canonical(bad)


def planned(tmp_path, **changes):
    """Return the digest of the train cell of a request for digits."""
    spec = RunSpec(task=Named(name="digits"), train={"recipe": "standard"})
    for path, value in changes.items():
        spec = spec.with_field(path.replace("__", "."), value)
    return make_plan(spec, Catalogue.discover(), tmp_path).trains[0].digest


@pytest.mark.parametrize(
    ("path", "default"),
    [
        ("train__epochs", 150),
        ("train__learning_rate", 0.05),
        ("train__weight_decay", 0.0005),
        ("train__milestones", [0.75]),
        ("train__warmup_epochs", 0),
        ("train__early_stop", True),
        ("models", 2),
    ],
)
def test_setting_a_value_to_what_it_is_anyway_changes_nothing(tmp_path, path, default):
    assert planned(tmp_path, **{path: default}) == planned(tmp_path)


def test_a_plan_keeps_the_digest_of_a_default_architecture_named_or_not(tmp_path):
    spec = RunSpec(task=Named(name="digits"))
    catalogue = Catalogue.discover()
    plain = make_plan(spec, catalogue, tmp_path).trains[0].digest
    for name in ("resnet18", "llt/resnet18"):
        named = spec.model_copy(update={"architecture": Named(name=name)})
        assert make_plan(named, catalogue, tmp_path).trains[0].digest == plain
        width = named.with_field("architecture.width", 3)
        assert make_plan(width, catalogue, tmp_path).trains[0].digest != plain


def test_a_recipe_is_known_by_its_settings_and_not_by_its_name():
    by_name = resolve_recipe({"recipe": "lr_decay"})
    by_hand = resolve_recipe(
        {
            "recipe": "standard",
            "early_stop": False,
            "learning_rate": 0.1,
            "epochs": 100,
            "schedule": "step",
            "checkpoint": "best_train_loss",
        }
    )
    assert by_name.non_defaults() == by_hand.non_defaults()
