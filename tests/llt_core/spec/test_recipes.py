"""The named recipes are those of the paper, and a wrong setting is told well."""

import pytest

from llt_core.errors import RequestError
from llt_core.spec import RECIPES, TrainingRecipe, resolve_recipe


def test_standard_is_the_setting_of_the_paper():
    recipe = resolve_recipe({"recipe": "standard"})
    assert recipe.model_dump() == {
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "batch_size": 128,
        "epochs": 150,
        "schedule": "constant",
        "milestones": (0.75,),
        "gamma": 0.1,
        "warmup_epochs": 0.0,
        "early_stop": True,
        "early_stop_after": 30,
        "early_stop_window": 5,
        "early_stop_tolerance": 1e-4,
        "checkpoint": "last",
        "drop_last": True,
        "dtype": "float32",
    }


def test_lr_decay_is_the_setting_of_the_paper():
    recipe = resolve_recipe({"recipe": "lr_decay"})
    expected = {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "batch_size": 128,
        "epochs": 100,
        "schedule": "step",
        "milestones": (0.75,),
        "gamma": 0.1,
        "warmup_epochs": 0.0,
        "early_stop": False,
        "checkpoint": "best_train_loss",
        "drop_last": True,
        "dtype": "float32",
    }
    assert recipe.model_dump(include=set(expected)) == expected


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_resolves_and_says_what_it_changes(name):
    recipe = resolve_recipe({"recipe": name})
    changed = TrainingRecipe.model_validate(RECIPES[name])
    assert recipe == changed
    assert TrainingRecipe.model_validate(recipe.non_defaults()) == recipe


def test_overrides_win_over_the_recipe_and_the_rest_stays():
    recipe = resolve_recipe({"recipe": "lr_decay", "epochs": 10, "weight_decay": 0})
    assert (recipe.epochs, recipe.weight_decay) == (10, 0.0)
    assert (recipe.learning_rate, recipe.schedule) == (0.1, "step")


def test_the_default_recipe_is_the_callers():
    assert resolve_recipe({}, default="quick").epochs == 4
    assert resolve_recipe({"recipe": "lr_decay"}, default="quick").epochs == 100


def told(settings):
    with pytest.raises(RequestError) as caught:
        resolve_recipe(settings)
    return caught.value


def test_unknown_recipe_names_the_near_one():
    error = told({"recipe": "standart"})
    assert error.what == "no training recipe is called 'standart'"
    assert error.expected == "did you mean standard?"
    assert error.next_step == "--set train.recipe=standard"


def test_unknown_recipe_like_none_lists_all():
    error = told({"recipe": "zzz"})
    assert error.expected == "one of " + ", ".join(RECIPES)


def test_unknown_setting_names_the_near_one():
    error = told({"batchsize": 4})
    assert error.what == "training has no setting 'batchsize'"
    assert error.expected.startswith("did you mean train.batch_size?")
    assert "learning_rate" in error.expected


@pytest.mark.parametrize(
    ("settings", "what", "expected"),
    [
        ({"epochs": 0}, "train.epochs = 0", "greater than or equal to 1"),
        ({"batch_size": "many"}, "train.batch_size = 'many'", "integer"),
        ({"learning_rate": -1}, "train.learning_rate = -1", "greater than 0"),
        ({"learning_rate": float("inf")}, "train.learning_rate = inf", "finite"),
        ({"weight_decay": float("nan")}, "train.weight_decay = nan", "finite"),
        ({"momentum": 1.0}, "train.momentum = 1.0", "less than 1"),
        ({"optimizer": "adam"}, "train.optimizer = 'adam'", "'sgd' or 'adamw'"),
        ({"milestones": [0.5, 75]}, "these training settings", "between 0 and 1"),
        ({"epochs": 3, "warmup_epochs": 4}, "these training settings", "warm-up of 4.0 epochs"),
    ],
)
def test_values_out_of_range_are_told(settings, what, expected):
    error = told(settings)
    assert what in error.what
    assert expected in error.expected
    assert error.exit_code == 2
