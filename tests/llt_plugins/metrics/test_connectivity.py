"""Mode and linear connectivity: right numbers, honest words, untouched models."""

from __future__ import annotations

import copy
import math
from functools import cache
from pathlib import Path as Folder

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.functional import cross_entropy

from llt_core.interfaces import (
    ClassificationTask,
    MeasureContext,
    RequestError,
    TaskDescription,
    TensorExamples,
)
from llt_core.testing.checks import model_state, random_state
from llt_plugins.metrics.linear_connectivity import LinearConnectivity
from llt_plugins.metrics.mode_connectivity import ModeConnectivity
from llt_plugins.paths.batchnorm import recalibrate
from llt_plugins.paths.curves import Path
from llt_plugins.paths.symmetry import unit_groups

BOTH = [LinearConnectivity, ModeConnectivity]
SMALL = {
    LinearConnectivity: LinearConnectivity(points=5, batch_size=16),
    ModeConnectivity: ModeConnectivity(epochs=4, batch_size=16, learning_rate=0.05),
}


class Images(ClassificationTask):
    """Three noisy clouds drawn as 1 x 4 x 4 images."""

    summary = "Three clouds"
    split_policy = "60 for training, 45 for testing"

    def describe(self) -> TaskDescription:
        return TaskDescription(modality="image", input_shape=(1, 4, 4), outputs=3)

    def datasets(self, data_root: Folder):
        return self.tiny()

    def tiny(self):
        generator = torch.Generator().manual_seed(0)
        centres = torch.randn(3, 1, 4, 4, generator=generator)

        def draw(count: int) -> TensorExamples:
            labels = torch.randint(0, 3, (count,), generator=generator)
            noise = torch.randn(count, 1, 4, 4, generator=generator)
            return TensorExamples(centres[labels] + 1.2 * noise, labels)

        return {"train": draw(60), "test": draw(45)}


class LossOnly(Images):
    """A task that knows no right and wrong."""

    def evaluate(self, outputs, batch):
        return {"loss": cross_entropy(outputs, batch.targets, reduction="none")}


def network(seed: int, batch_norm: bool = True, width: int = 6) -> nn.Module:
    return copy.deepcopy(trained(seed, batch_norm, width))


@cache
def trained(seed: int, batch_norm: bool, width: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width) if batch_norm else nn.Identity(),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * width, 3),
        )
        examples = Images().tiny()["train"]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(80):
            optimizer.zero_grad()
            cross_entropy(model(examples.inputs), examples.targets).backward()
            optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def context(*models: nn.Module, task=None, splits=None, **more) -> MeasureContext:
    task = task or Images()
    return MeasureContext(task, models or (network(0), network(1)), splits or task.tiny(), **more)


def by_name(results):
    return {result.name: result for result in results}


@torch.no_grad()
def terms(model, examples):
    outputs = model(examples.inputs).double()
    loss = cross_entropy(outputs, examples.targets, reduction="none")
    return {"loss": loss, "error": 100.0 * (outputs.argmax(1) != examples.targets).double()}


def test_the_line_is_that_of_interpolated_weights():
    """Without batch norm every number follows from state dicts averaged by hand."""
    models = network(0, batch_norm=False), network(1, batch_norm=False)
    setting = context(*models)
    results = LinearConnectivity(points=5).measure(setting)
    found, arrays = by_name(results), results[0].arrays
    states = [model.state_dict() for model in models]
    for split, examples in setting.splits.items():
        rows = []
        for t in (0.0, 0.25, 0.5, 0.75, 1.0):
            twin = network(0, batch_norm=False)
            twin.load_state_dict({k: (1 - t) * v + t * states[1][k] for k, v in states[0].items()})
            rows.append(terms(twin, examples))
        for kind in ("error", "loss"):
            values = torch.stack([row[kind] for row in rows])
            means = values.mean(1)
            torch.testing.assert_close(
                torch.from_numpy(arrays[f"{split}_{kind}"]), means, rtol=1e-5, atol=1e-6
            )
            name = "linear_connectivity"
            if (split, kind) != ("train", "error"):
                name += f"_{split}_{kind}"
            middle = (means[0] + means[-1]) / 2
            star = int((means - middle).abs().argmax())
            expected = {
                "": middle - means[star],
                "_barrier": means[1:-1].max() - middle,
                "_dip": middle - means[1:-1].min(),
                "_peak": -means[1:-1].max(),
            }
            for suffix, value in expected.items():
                result = found[name + suffix]
                assert result.value == pytest.approx(float(value), rel=1e-4, abs=1e-5)
                assert result.n == len(examples)
                assert result.unit == {"error": "percent", "loss": "nats"}[kind]
                if split == "train":
                    assert result.standard_error == 0.0
                    assert result.details["error_kind"] == "exact over the split"
            if split == "test":
                paired = (values[0] + values[-1]) / 2 - values[star]
                assert found[name].standard_error == pytest.approx(
                    float(paired.std()) / math.sqrt(len(examples)), rel=1e-4
                )
                assert "sampling" in found[name].details["error_kind"]
    distance = sum(float((states[1][k] - v).square().sum()) for k, v in states[0].items()) ** 0.5
    assert found["linear_connectivity_length"].value == pytest.approx(distance, rel=1e-5)
    assert found["linear_connectivity"].value < -5


class Notch(nn.Module):
    """One parameter w: inputs in (0, 1) above ``1 − w²`` (or ``w²``) belong to class 1."""

    def __init__(self, w: float, valley: bool) -> None:
        super().__init__()
        self.w, self.valley = nn.Parameter(torch.tensor(w)), valley

    def forward(self, x):
        height = self.w**2 if self.valley else 1 - self.w**2
        return torch.cat([0 * x, x - height], dim=1)


@pytest.mark.parametrize(("valley", "value"), [(False, -100.0), (True, 100.0)])
def test_a_pair_with_a_known_barrier_or_valley(valley, value):
    examples = TensorExamples(((torch.arange(80) + 0.5) / 80)[:, None], torch.ones(80).long())
    setting = context(
        Notch(-1.0, valley), Notch(1.0, valley), splits={"train": examples, "test": examples}
    )
    found = by_name(LinearConnectivity(points=9).measure(setting))
    assert found["linear_connectivity"].value == value
    assert found["linear_connectivity_t"].value == 0.5
    assert found["linear_connectivity_length"].value == 2.0
    assert found["linear_connectivity_test_error"].value == value
    # All 80 examples differ by the same amount, so they do not tell how far others would.
    assert found["linear_connectivity_test_error"].standard_error is None
    assert found["linear_connectivity_test_error"].details["error_kind"] == "unknown"
    assert found["linear_connectivity"].standard_error == 0.0


def test_ends_are_given_as_stored_and_as_recalibrated():
    setting = context()
    metric = LinearConnectivity(points=3, batch_size=20)
    result = metric.measure(setting)[0]
    examples = setting.splits["train"]
    order = next(
        iter(examples.slices(60, generator=setting.sample_generator("batch norm of paths")))
    )
    for index, model in enumerate(setting.models):
        twin = copy.deepcopy(model)
        recalibrate(twin, [(20, lambda m, i=i: m(examples.inputs[i])) for i in order.split(20)])
        for kind in ("loss", "error"):
            ends = result.details["ends"][f"train_{kind}"]
            stored, recalibrated = (float(terms(m, examples)[kind].mean()) for m in (model, twin))
            assert ends["stored"][index] == pytest.approx(stored, rel=1e-5)
            assert ends["recalibrated"][index] == pytest.approx(recalibrated, rel=1e-5)
            assert result.arrays[f"train_{kind}_stored"][index] == ends["stored"][index]
            assert result.arrays[f"train_{kind}"][-index] == ends["recalibrated"][index]
        assert result.details["ends"]["train_loss"]["stored"] != pytest.approx(
            result.details["ends"]["train_loss"]["recalibrated"], rel=1e-4
        )


@pytest.mark.parametrize("batch_norm", ["full", "none", 2])
def test_every_way_to_treat_batch_norm(batch_norm):
    metric = LinearConnectivity(points=3, batch_size=16, batch_norm=batch_norm)
    result = metric.measure(context())[0]
    assert result.details["batch_norm"] == batch_norm
    ends = result.details["ends"]["train_loss"]
    assert (ends["stored"] == ends["recalibrated"]) == (batch_norm == "none")


def test_a_stored_curve_gives_the_stored_numbers_again():
    from llt_plugins.paths.evaluation import evaluate

    setting = context()
    metric = SMALL[ModeConnectivity]
    arrays = metric.measure(setting)[0].arrays
    assert arrays["bends"].dtype == "float32"
    path = Path(*setting.models, torch.from_numpy(arrays["bends"]))
    assert arrays["bends"].shape == (1, path.layout.size)
    splits = {split: lambda s=split: metric._scores(setting, s) for split in setting.splits}
    values = evaluate(path, arrays["t"].tolist(), splits, metric._passes(setting))
    for split, kinds in values.items():
        for kind, rows in kinds.items():
            expected = torch.from_numpy(arrays[f"{split}_{kind}"])
            torch.testing.assert_close(rows.mean(1), expected, rtol=1e-6, atol=1e-9)
    assert len(arrays["training_loss"]) == len(arrays["epoch"]) == 4


def test_a_trained_curve_beats_the_line():
    barriers = {}
    for bends in (2, 3):
        metric = ModeConnectivity(bends=bends, epochs=25, batch_size=16, learning_rate=0.05)
        found = by_name(metric.measure(context()))
        barriers[bends] = found["mode_connectivity_train_loss_barrier"].value
    line = by_name(LinearConnectivity(points=5, batch_size=16).measure(context()))
    assert barriers[2] == pytest.approx(line["linear_connectivity_train_loss_barrier"].value)
    assert barriers[2] > 0.1
    assert barriers[3] < 0.5 * barriers[2]


@pytest.mark.parametrize(
    "options",
    [{"curve": "polygon"}, {"bends": 4}, {"bend_init": "random"}, {"batch_norm": 1}],
    ids=str,
)
def test_settings_change_the_curve_and_seeds_repeat_it(options):
    def measured(seed, **more):
        metric = SMALL[ModeConnectivity].model_copy(update=more)
        return metric.measure(context(seed=seed))[0]

    first, again, other = measured(1, **options), measured(1, **options), measured(2, **options)
    assert first.value == again.value
    assert (first.arrays["bends"] == again.arrays["bends"]).all()
    assert (first.arrays["train_loss"] == again.arrays["train_loss"]).all()
    assert (first.arrays["bends"] != other.arrays["bends"]).any()
    plain = measured(1)
    changed = [first.arrays["bends"].shape != plain.arrays["bends"].shape]
    changed += [(first.arrays[k] != plain.arrays[k]).any() for k in ("train_loss", "test_loss")]
    assert any(changed)


def test_the_line_needs_no_seed_and_no_order():
    models = network(0), network(1)
    values = [
        LinearConnectivity(points=5).measure(context(*pair, seed=seed))[0].value
        for pair, seed in ((models, 1), (models, 2), (models[::-1], 1))
    ]
    assert values[0] == values[1]
    assert values[2] == pytest.approx(values[0], abs=1e-6)


@pytest.mark.parametrize("metric", BOTH)
def test_ends_are_scored_once_for_all_pairs(metric, monkeypatch):
    calls = []
    original = Images.evaluate

    def evaluate(self, outputs, batch):
        calls.append(len(batch.targets))
        return original(self, outputs, batch)

    monkeypatch.setattr(Images, "evaluate", evaluate)
    three = context(network(0), network(1), network(2))
    counts = []
    values = {}
    for pair in ((0, 1), (1, 2), (0, 2)):
        calls.clear()
        values[pair] = SMALL[metric].measure(three.restricted(pair))[0].value
        counts.append(len(calls))
    # Three points between the ends and, for a new model, its end twice: on both splits.
    assert counts == [2 * (3 + 4), 2 * (3 + 2), 2 * 3]
    alone = SMALL[metric].measure(context(network(1), network(2)))[0].value
    assert alone == values[1, 2]


@pytest.mark.parametrize("metric", BOTH)
def test_models_and_process_are_left_as_found(metric):
    setting = context()
    setting.models[0].train()[1].eval()
    setting.models[1][0].weight.grad = torch.ones_like(setting.models[1][0].weight)
    before = [model_state(model) for model in setting.models], random_state()
    SMALL[metric].model_copy(update={"align": "weights"}).measure(setting)
    assert ([model_state(model) for model in setting.models], random_state()) == before


@pytest.mark.parametrize("metric", BOTH)
@pytest.mark.parametrize("align", ["none", "weights"])
def test_not_a_number_is_a_status(metric, align):
    broken = network(1)
    broken[0].weight.data[0] = math.nan
    results = SMALL[metric].model_copy(update={"align": align}).measure(context(network(0), broken))
    for result in results:
        assert (result.value, result.standard_error) == (None, None)
        assert result.status == "not_finite"
    assert [result.name for result in results] == [q.name for q in metric.returns]


@pytest.mark.parametrize("metric", BOTH)
def test_without_right_and_wrong_there_is_the_loss(metric):
    results = by_name(SMALL[metric].measure(context(task=LossOnly())))
    name = SMALL[metric].name
    assert results[name].status == results[f"{name}_test_error_barrier"].status == "undefined"
    assert "no error" in results[name].details["reason"]
    assert results[f"{name}_train_loss"].value is not None
    arrays, figures = results[name].arrays, results[name].figures
    assert "train_loss" in arrays
    assert "train_error" not in arrays
    assert figures[0].title == "Loss along the path"


@pytest.mark.parametrize("metric", BOTH)
def test_figures_name_arrays_that_are_there(metric):
    result = SMALL[metric].measure(context())[0]
    assert len(result.figures) == 2 + (metric is ModeConnectivity)
    for figure in result.figures:
        assert figure.kind == "line"
        assert set(figure.arrays) <= result.arrays.keys()
        assert all(
            len(result.arrays[name]) == len(result.arrays[figure.x]) for name in figure.arrays
        )
    assert result.figures[0].band == (None, "test_error_se")


@pytest.mark.parametrize("metric", BOTH)
def test_a_sample_of_the_training_split_has_a_sampling_error(metric):
    found = by_name(SMALL[metric].model_copy(update={"samples": 30}).measure(context()))
    main = found[f"{metric.name}_train_loss"]
    assert main.n == 30
    assert main.standard_error > 0
    assert "sampling" in main.details["error_kind"]


def test_alignment_removes_the_barrier_of_a_permuted_copy():
    from llt_plugins.paths.alignment import permuted

    first = network(0)
    second = permuted(first, unit_groups(first), [torch.tensor([3, 5, 0, 1, 2, 4])])
    metric = LinearConnectivity(points=5, batch_size=16)
    plain = by_name(metric.measure(context(first, second)))
    aligned = by_name(
        metric.model_copy(update={"align": "weights"}).measure(context(first, second))
    )
    assert plain["linear_connectivity"].value < -1
    assert plain["linear_connectivity_train_loss_barrier"].value > 0.05
    assert aligned["linear_connectivity"].value == pytest.approx(0, abs=1e-9)
    assert aligned["linear_connectivity_train_loss_barrier"].value == pytest.approx(0, abs=1e-5)
    assert aligned["linear_connectivity_length"].value == 0.0
    assert plain["linear_connectivity_length"].value > 0.1


@pytest.mark.parametrize("metric", BOTH)
def test_mistakes_are_named(metric):
    small = SMALL[metric]
    with pytest.raises(ValueError, match=r"'0\.weight' is \(6, 1, 3, 3\).*\(5, 1, 3, 3\)"):
        small.measure(context(network(0), network(1, width=5)))
    empty = TensorExamples(torch.empty(0, 1, 4, 4), torch.empty(0).long())
    for split in ("train", "test"):
        with pytest.raises(RequestError, match=f"'{split}' is empty"):
            small.measure(context(splits=Images().tiny() | {split: empty}))
    with pytest.raises(ValidationError):
        metric(points=2)
    with pytest.raises(ValidationError):
        metric(batch_norm=0)
    with pytest.raises(ValidationError):
        metric(batch_norm="some")
    results = small.measure(context(*(network(k).requires_grad_(False) for k in range(2))))
    assert {result.status for result in results} == {"undefined"}
    assert "no trainable parameter" in results[0].details["reason"]


@pytest.mark.parametrize("metric", BOTH)
def test_one_class_and_one_example_are_fine(metric):
    splits = Images().tiny()
    one_class = {k: v.with_targets(torch.zeros(len(v)).long()) for k, v in splits.items()}
    found = by_name(SMALL[metric].measure(context(splits=one_class)))
    assert -100 <= found[metric.name].value <= 100
    single = splits | {"test": splits["test"].subset(torch.tensor([0]))}
    found = by_name(SMALL[metric].measure(context(splits=single)))
    assert found[f"{metric.name}_test_loss"].n == 1
    assert found[f"{metric.name}_test_loss"].standard_error is None
    # 49 = 3 · 16 + 1: the last minibatch has no variance.
    odd = splits | {"train": splits["train"].subset(torch.arange(49))}
    assert by_name(SMALL[metric].measure(context(splits=odd)))[metric.name].status == "ok"


@pytest.mark.parametrize("metric", BOTH)
def test_progress_and_cost(metric):
    heard = []
    setting = context(report=lambda done, total: heard.append((done, total)))
    SMALL[metric].measure(setting)
    assert heard[-1][0] == heard[-1][1]
    assert all(0 <= done <= total for done, total in heard)
    task = Images().describe()
    assert 0 < metric.minimal().cost(task) < metric().cost(task)
    assert metric(points=21).cost(task) > metric().cost(task)
