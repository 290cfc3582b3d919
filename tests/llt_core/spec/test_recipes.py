"""The named recipes are those of the paper, and a wrong setting is told well."""

import pytest

from llt_core.errors import RequestError
from llt_core.spec import RECIPES, TrainingRecipe, resolve_recipe
from llt_core.spec.training import SHORT_FORMS


def test_standard_is_the_setting_of_the_paper():
    recipe = resolve_recipe({"recipe": "standard"})
    assert recipe.model_dump() == {
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "lr_scaling": False,
        "momentum": 0.9,
        "betas": (0.9, 0.999),
        "epsilon": 1e-8,
        "weight_decay": 5e-4,
        "gradient_clip": None,
        "sam_radius": 0.0,
        "batch_size": 128,
        "batch_unit": "examples",
        "epochs": 150,
        "max_steps": None,
        "schedule": "constant",
        "milestones": (0.75,),
        "gamma": 0.1,
        "warmup_epochs": 0.0,
        "warmup_steps": 0,
        "early_stop": True,
        "early_stop_after": 30,
        "early_stop_window": 5,
        "early_stop_tolerance": 1e-4,
        "stop_at_loss": None,
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


def changes(name, base):
    """The settings in which two recipes differ."""
    one, other = (resolve_recipe({"recipe": each}).model_dump() for each in (name, base))
    return {key: one[key] for key in one if one[key] != other[key]}


def test_variants_of_the_paper_differ_in_what_the_paper_says():
    assert changes("small_wd", "standard") == {"weight_decay": 1e-4}
    assert changes("lr_scaling", "standard") == {"lr_scaling": True}
    assert changes("two_decays", "lr_decay") == {"milestones": (0.5, 0.75)}
    assert changes("sharpness_aware", "standard") == {"sam_radius": 0.05}
    assert changes("large_batch", "lr_scaling") == {"batch_size": 2048, "warmup_epochs": 5.0}
    zero = {"early_stop": False, "epochs": 500, "weight_decay": 0.0, "stop_at_loss": 1e-3}
    assert changes("zero_loss", "standard") == zero


def test_transformer_is_the_setting_of_the_paper():
    recipe = resolve_recipe({"recipe": "transformer"})
    assert (recipe.optimizer, recipe.betas, recipe.epsilon) == ("adam", (0.9, 0.98), 1e-9)
    assert (recipe.schedule, recipe.warmup_steps) == ("inverse_sqrt", 4000)
    assert (recipe.batch_unit, recipe.batch_size) == ("tokens", 1500)
    assert recipe.learning_rate == pytest.approx((512 * 4000) ** -0.5, rel=0.01)
    constant = changes("transformer_constant", "transformer")
    assert set(constant) == {"schedule", "warmup_steps", "learning_rate"}
    assert constant["schedule"] == "constant"


def test_the_rate_grows_with_the_batch_where_asked():
    scaled = {"recipe": "lr_scaling", "learning_rate": 0.05}
    assert resolve_recipe({**scaled, "batch_size": 1024}).peak_rate == pytest.approx(0.4)
    assert resolve_recipe({**scaled, "batch_size": 16}).peak_rate == pytest.approx(0.00625)
    assert resolve_recipe({"batch_size": 1024}).peak_rate == 0.05


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
        ({"epochs": 0}, "train.epochs = 0", "at least 1"),
        ({"batch_size": "many"}, "train.batch_size = 'many'", "whole number"),
        ({"learning_rate": -1}, "train.learning_rate = -1", "more than 0"),
        ({"learning_rate": float("inf")}, "train.learning_rate = inf", "finite"),
        ({"weight_decay": float("nan")}, "train.weight_decay = nan", "finite"),
        ({"momentum": 1.0}, "train.momentum = 1.0", "less than 1"),
        ({"optimizer": "rms"}, "train.optimizer = 'rms'", "'sgd', 'adam' or 'adamw'"),
        ({"betas": [0.9, 1.0]}, "these training settings", "less than 1"),
        ({"gradient_clip": 0}, "train.gradient_clip = 0", "more than 0"),
        ({"schedule": "inverse_sqrt"}, "these training settings", "needs warmup_steps"),
        ({"warmup_steps": 9, "warmup_epochs": 1}, "these training settings", "two ways"),
        ({"lr_scaling": True, "batch_unit": "tokens"}, "these training settings", "by examples"),
        ({"milestones": [0.5, 75]}, "these training settings", "between 0 and 1"),
        ({"epochs": 3, "warmup_epochs": 4}, "these training settings", "warm-up of 4.0 epochs"),
    ],
)
def test_values_out_of_range_are_told(settings, what, expected):
    error = told(settings)
    assert what in error.what
    assert expected in error.expected
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("wrong", "right"), [("lr", "learning_rate"), ("bs", "batch_size"), ("WD", "weight_decay")]
)
def test_short_forms_of_settings_are_recognised(wrong, right):
    with pytest.raises(RequestError) as refused:
        resolve_recipe({wrong: 1})
    assert f"did you mean train.{right}?" in refused.value.expected
    assert refused.value.next_step == "llt show train"


def test_short_forms_lead_to_settings():
    assert set(SHORT_FORMS.values()) <= set(TrainingRecipe.model_fields)
    assert not SHORT_FORMS.keys() & TrainingRecipe.model_fields.keys()


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("epochs", 0, "at least 1"),
        ("epochs", "few", "a whole number"),
        ("epochs", 1.5, "a whole number"),
        ("learning_rate", 0, "more than 0"),
        ("learning_rate", float("nan"), "a finite number"),
        ("momentum", 1, "less than 1"),
        ("early_stop", "perhaps", "true or false"),
        ("betas", 3, "a list, such as [0.5, 0.75]"),
        ("optimizer", "sdg", "'sgd', 'adam' or 'adamw'"),
        ("milestones", [2], "milestones are fractions of the training, between 0 and 1"),
    ],
)
def test_what_is_expected_is_said_in_words(setting, value, expected):
    with pytest.raises(RequestError) as refused:
        resolve_recipe({setting: value})
    assert refused.value.expected == expected
