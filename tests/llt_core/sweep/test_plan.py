"""From a request to cells: which there are, what they read, and what is refused."""

from itertools import combinations

import pytest

from llt_core.errors import LltError
from llt_core.plugins import Catalogue
from llt_core.spec import Named, RunSpec
from llt_core.sweep import make_plan


@pytest.fixture
def plan(here):
    def make(*metrics, task="file_task", architecture="mlp", data_root=here, **fields):
        spec = RunSpec(
            task=Named.of(task),
            architecture=None if architecture is None else Named.of(architecture),
            metrics=tuple(map(Named.of, metrics)),
            perturbations=tuple(map(Named.of, fields.pop("perturbations", ()))),
            **fields,
        )
        return make_plan(spec, Catalogue.discover(), data_root)

    return make


def test_models_alone(plan):
    made = plan(models=3, seed=5)
    assert [cell.cell.seed for cell in made.trains] == [5, 6, 7]
    assert [cell.label for cell in made.trains] == ["train seed 5", "train seed 6", "train seed 7"]
    assert made.measures == ()
    assert len({cell.digest for cell in made.cells}) == 3


def test_a_measurement_per_model_pair_and_set(plan):
    made = plan("norm", "distance", "spread", models=4)
    trains = [cell.digest for cell in made.trains]
    by_metric = {}
    for cell in made.measures:
        by_metric.setdefault(cell.cell.metric.name, []).append(cell.cell.models)
    assert by_metric["local/norm"] == [(digest,) for digest in trains]
    assert by_metric["local/distance"] == list(combinations(trains, 2))
    assert by_metric["local/spread"] == [tuple(trains)]
    assert made.cells == (*made.trains, *made.measures)
    assert made[made.measures[-1].digest].label == "spread seed 0+1+2+3"


def test_the_same_measurement_asked_for_twice_is_one_cell(plan):
    made = plan("norm", "norm:scale=1", "local/norm:scale=1.0", "norm:scale=2")
    assert [cell.cell.metric.parameters for cell in made.measures] == [{}, {"scale": 2.0}]


def test_models_are_shared_between_requests(plan):
    few, many = plan("norm", models=2), plan("distance", models=3)
    assert [c.digest for c in many.trains[:2]] == [c.digest for c in few.trains]


def test_the_cells_carry_what_was_asked(plan):
    made = plan(
        "norm",
        architecture="mlp:width=5",
        perturbations=["label_noise:fraction=0.1", "data_subset:fraction=0.5"],
        train={"recipe": "lr_decay", "epochs": 7},
    )
    cell = made.trains[0].cell
    assert cell.architecture.name == "llt/mlp"
    assert cell.architecture.parameters == {"width": 5}
    assert [p.name for p in cell.perturbations] == ["llt/label_noise", "llt/data_subset"]
    assert cell.training.parameters["epochs"] == 7
    assert made.trains[0].composition["train"]["learning_rate"] == 0.1
    turned = plan(
        "norm",
        architecture="mlp:width=5",
        perturbations=["data_subset:fraction=0.5", "label_noise:fraction=0.1"],
        train={"recipe": "lr_decay", "epochs": 7},
    )
    assert turned.trains[0].digest != made.trains[0].digest
    assert turned.measures[0].digest != made.measures[0].digest


def test_files_that_the_task_does_not_pin_are_part_of_the_identity(plan, here):
    one = plan("norm")
    assert one.trains[0].cell.data.startswith("sha256:")
    assert plan("norm").trains[0].digest == one.trains[0].digest
    (here / "gray.bin").write_bytes(bytes(range(0, 256, 4)))
    two = plan("norm")
    assert two.trains[0].cell.data != one.trains[0].cell.data
    assert two.trains[0].digest != one.trains[0].digest
    assert two.measures[0].digest != one.measures[0].digest


def test_pinned_data_is_not(plan):
    assert plan(task="digits").trains[0].cell.data is None


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"task": "fil_task"}, "no task is called 'fil_task'"),
        ({"architecture": "mlpp"}, "no architecture is called 'mlpp'"),
        ({"metrics": ["norn"]}, "did you mean norm"),
        ({"metrics": ["mlp"]}, "of kind architecture by that name"),
        ({"architecture": "mlp:widht=3"}, "did you mean width?"),
        ({"architecture": "mlp:width=0"}, "cannot take width = 0"),
        ({"metrics": ["norm:scale=-1"]}, "cannot take scale = -1"),
        ({"perturbations": ["label_noise"]}, "needs the parameter 'fraction'"),
        ({"perturbations": ["label_noise:fraction=1.5"]}, "cannot take fraction = 1.5"),
        ({"train": {"recipe": "standart"}}, "did you mean standard?"),
        ({"architecture": None}, "names no default architecture"),
        ({"architecture": "words"}, "it reads text inputs, but the task gives image"),
        ({"metrics": ["validation"]}, "it reads the split 'validation'"),
        ({"metrics": ["distance"]}, "compares models, and only one is asked for"),
        ({"metrics": ["spread"]}, "--models 2"),
        ({"metrics": ["curvature"], "architecture": "once_only"}, "has one derivative only"),
        (
            {"perturbations": ['label_noise:fraction=0.1,splits=["dev"]']},
            "it changes the split 'dev', but the task has train, test",
        ),
        ({"task": "file_task:levels=7"}, "cannot take levels = 7"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(plan, here, request_, says):
    with pytest.raises(LltError) as caught:
        plan(*request_.pop("metrics", ()), **request_)
    assert says in str(caught.value)
    assert not (here / "calls").exists(), "something was computed before the refusal"
    assert not (here / "store").exists()


def test_missing_files_of_an_unpinned_task_are_told_while_planning(plan, here):
    (here / "gray.bin").unlink()
    with pytest.raises(LltError) as caught:
        plan("norm")
    assert "gray.bin" in str(caught.value)
    assert str(here) in str(caught.value)
