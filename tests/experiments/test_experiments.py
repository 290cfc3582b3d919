"""The files under experiments: full profiles are the published grids, mini ones are tiny."""

import tomllib
from pathlib import Path

import pytest

from llt_core.cli.main import main
from llt_core.plugins import Catalogue
from llt_core.spec import SweepSpec
from llt_core.sweep import make_plan
from llt_core.sweep.compose import Composer

FOLDER = Path(__file__).parents[2] / "experiments"
FILES = sorted(FOLDER.glob("*.toml"))
FIGURES = [path for path in FILES if path.stem.startswith("figure")]

# Yang et al. 2021, as published.
WIDTHS = [1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128]
BATCHES = [16, 24, 32, 44, 64, 92, 128, 180, 256, 364, 512, 724, 1024]
RATES = [0.4, 0.28, 0.2, 0.14, 0.1, 0.07, 0.05, 0.035, 0.025, 0.0177, 0.0125, 0.0088, 0.00625,
         0.0044, 0.003125, 0.0022, 0.0015625]  # fmt: skip
DECAYS = [5e-3, 4.5e-3, 4e-3, 3.5e-3, 3e-3, 2.5e-3, 2e-3, 1.5e-3, 1e-3, 7e-4, 5e-4, 3.2e-4, 2e-4,
          1.4e-4, 1e-4, 7e-5, 5e-5]  # fmt: skip
FRACTIONS = [round(0.1 * tenth, 1) for tenth in range(1, 11)]
NOISES = [0, 0.025, 0.05, 0.075, 0.1, *(round(0.05 * step, 2) for step in range(3, 17))]
METRICS = {
    "train_loss", "train_accuracy", "test_loss", "test_accuracy", "hessian_top_eigenvalue",
    "hessian_trace", "mode_connectivity", "cka", "l2_distance", "agreement", "js_divergence",
    "logit_cosine", "ensemble_accuracy",
}  # fmt: skip
WIDTH, BATCH = ("architecture.width", WIDTHS), ("train.batch_size", BATCHES)
SUBSET = ("perturbation.data_subset.fraction", FRACTIONS)

# File → task, architecture, recipe, published axes, grid points. A field whose values were never
# published (and are ours) stands without values.
PUBLISHED = {
    "02": ("cifar10", "resnet18", "standard", [WIDTH, BATCH], 182),
    "03": ("cifar10", "resnet18", "lr_decay", [WIDTH, BATCH], 182),
    "04": ("cifar10", "resnet18", "standard", [WIDTH, BATCH], 182),
    "05": ("cifar10", "resnet18", "standard", [WIDTH, ("train.weight_decay", DECAYS)], 238),
    "06": ("cifar10", "resnet18", "standard", [SUBSET, BATCH], 130),
    "07": ("cifar10", "resnet18", "lr_decay", [SUBSET, BATCH], 130),
    "08": ("cifar10", "resnet18", "standard",
           [("perturbation.label_noise.fraction", NOISES), BATCH], 247),
    "12": ("cifar10", "resnet18", "lr_decay",
           [("architecture.width", None), ("train.batch_size", None)], 4),
    "13": ("cifar10", "resnet18", None,
           [WIDTH, BATCH, ("train.recipe", ["standard", "lr_decay"])], 364),
    "14": ("cifar100", "resnet18", "standard", [WIDTH, BATCH], 182),
    "15": ("svhn", "resnet18", "standard", [WIDTH, BATCH], 182),
    "16": ("cifar10", "vgg11", "standard", [WIDTH, BATCH], 182),
    "17": ("cifar10", "resnet18", "standard", [WIDTH, ("train.learning_rate", RATES)], 238),
    "18": ("iwslt", "transformer", "transformer",
           [("architecture.embedding_dim", None), ("train.batch_size", None)], 55),
    "19": ("cifar10", "resnet18", "zero_loss", [WIDTH, BATCH], 182),
    "20": ("cifar10", "resnet18", "standard",
           [("perturbation.pixel_noise.magnitude", None), BATCH], 117),
    "21": ("cifar10", "resnet18", "large_batch", [WIDTH, ("train.batch_size", None)], 70),
    "22": ("cifar10", "resnet18", "lr_scaling", [WIDTH, BATCH], 182),
    "23": ("cifar10", "densenet40", "standard", [("architecture.growth", None), BATCH], 130),
}  # fmt: skip

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def varied(spec):
    """The values that each field takes over the grid, in order of appearance."""
    found = {}
    for point in spec.points():
        for field, value in point.values.items():
            found.setdefault(field, {})[value] = None
    return {field: list(values) for field, values in found.items()}


def test_every_figure_has_its_file():
    assert [path.stem for path in FIGURES] == [f"figure{number}" for number in sorted(PUBLISHED)]


@pytest.mark.parametrize("number", PUBLISHED)
def test_full_profiles_are_the_published_grids(number):
    task, architecture, recipe, axes, points = PUBLISHED[number]
    spec = SweepSpec.read(FOLDER / f"figure{number}.toml")
    assert spec.base.task.name == task
    assert spec.base.task.parameters == {}, "the published files, verified"
    assert spec.base.architecture.name == architecture
    if recipe is not None:
        assert spec.base.train["recipe"] == recipe
    assert set(spec.base.train) <= {"recipe", "batch_size"}, "nothing of the recipe is changed"
    assert spec.base.models == 5
    measured = {metric.name for metric in spec.base.metrics}
    assert measured >= METRICS
    parameters = {m.name: dict(m.parameters) for m in spec.base.metrics if m.parameters}
    assert parameters == ({"mode_connectivity": {"points": 21}} if number == "12" else {})
    assert spec.base.pairs_of("mode_connectivity") == "first"
    assert spec.base.pairs_of("cka") == "all"
    found = varied(spec)
    assert set(found) - {"metric.mode_connectivity.epochs"} == {field for field, _ in axes}
    for field, values in axes:
        assert values is None or found[field] == values
    assert len(spec.points()) == points
    assert spec.models() == 5 * points
    kinds = set(spec.kinds.values())
    assert kinds == {"load", "temperature"}


def test_noise_of_figure_4_and_variants():
    (noise,) = SweepSpec.read(FOLDER / "figure04.toml").base.perturbations
    assert (noise.name, dict(noise.parameters)) == ("label_noise", {"fraction": 0.1})
    variant = SweepSpec.read(FOLDER / "figure02.toml", "small_wd")
    assert variant.base.train["recipe"] == "small_wd"
    assert len(variant.points()) == 182
    assert SweepSpec.read(FOLDER / "figure03.toml", "two_decays").base.train == {
        "recipe": "two_decays"
    }


@pytest.mark.parametrize("number", ["06", "07"])
def test_curves_of_less_data_get_more_epochs(number):
    for point in SweepSpec.read(FOLDER / f"figure{number}.toml").points():
        fraction = point.values["perturbation.data_subset.fraction"]
        epochs = point.values["metric.mode_connectivity.epochs"]
        assert epochs == int(10 / fraction + 1e-9) * 5


def test_figure_12_shares_the_models_of_figure_3_and_figure_13_those_of_2_and_3(tmp_path):
    catalogue = Catalogue.discover()

    def trains(name):
        plan = make_plan(SweepSpec.read(FOLDER / f"{name}.toml"), catalogue, tmp_path)
        return {cell.digest for cell in plan.trains}

    assert trains("figure12") < trains("figure03")
    assert trains("figure13") == trains("figure02") | trains("figure03")
    assert len(trains("figure13")) == 1820


def test_the_quickstart_has_24_points_of_3_models():
    spec = SweepSpec.read(FOLDER / "quickstart.toml")
    assert len(spec.points()) >= 24
    assert spec.base.models == 3
    measured = {metric.name for metric in spec.base.metrics}
    assert measured >= {"test_accuracy", "train_loss", "hessian_trace", "hessian_top_eigenvalue",
                        "cka", "linear_connectivity"}  # fmt: skip


@each_file
def test_mini_profiles_are_the_same_composition_and_tiny(path):
    full, mini = SweepSpec.read(path), SweepSpec.read(path, "mini")
    assert mini.name == f"{path.stem}-mini"
    assert mini.base.task.name == full.base.task.name
    assert mini.base.architecture.name == full.base.architecture.name
    assert [m.name for m in mini.base.metrics] == [m.name for m in full.base.metrics]
    wanted = [p.name for p in full.base.perturbations]
    assert [p.name for p in mini.base.perturbations][: len(wanted)] == wanted
    assert mini.fields == full.fields
    assert mini.base.models == 2
    assert len(mini.points()) <= (8 if path.stem == "figure13" else 4)
    for point in mini.points():
        assert point.spec.train.get("epochs", 99) <= 2


def own_profiles(path):
    tree = tomllib.loads(path.read_text("utf-8"))
    return dict.fromkeys(("", "mini", *tree.get("profiles", {})))


@pytest.mark.parametrize(
    ("path", "profile"),
    [pytest.param(p, name, id=f"{p.stem}-{name}") for p in FILES for name in own_profiles(p)],
)
def test_every_composition_is_possible(path, profile):
    """Every name exists, every parameter is in range, and all parts go together."""
    catalogue = Catalogue.discover()
    for point in SweepSpec.read(path, profile).points():
        Composer(catalogue).compose(point.spec)


def test_a_mini_profile_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    files = ["sweep", str(FOLDER / "quickstart.toml"), "--profile", "mini", "--threads", "1"]
    tiny = ["--set", "axes.load.values=[1]", "--set", "axes.temperature.values=[512]"]
    assert main([*files, *tiny]) == 0
    printed = capsys.readouterr().out
    assert "1 grid point, 18 cells: 18 new" in printed
