"""Learning-rate factors against closed forms, and the early-stop rule."""

import math

import pytest

from llt_core.spec import TrainingRecipe
from llt_core.work.schedule import has_settled, rate_factor, should_stop


def recipe(**settings):
    return TrainingRecipe(**settings)


def test_constant():
    constant = recipe(epochs=10)
    assert {rate_factor(constant, e / 7) for e in range(70)} == {1.0}


def test_step_drops_at_each_milestone_and_not_before():
    step = recipe(schedule="step", epochs=100, milestones=(0.5, 0.75), gamma=0.1)
    assert rate_factor(step, 49.99) == 1.0
    assert rate_factor(step, 50.0) == pytest.approx(0.1)
    assert rate_factor(step, 74.99) == pytest.approx(0.1)
    assert rate_factor(step, 75.0) == pytest.approx(0.01)
    assert rate_factor(step, 99.99) == pytest.approx(0.01)


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_milestone_on_an_epoch_is_met_in_that_epochs_first_step(percent):
    step = recipe(schedule="step", epochs=100, milestones=(percent / 100,), gamma=0.5)
    assert rate_factor(step, percent) == 0.5
    assert rate_factor(step, percent - 1e-3) == 1.0


def test_cosine():
    cosine = recipe(schedule="cosine", epochs=40)
    for epoch in (0, 3.5, 10, 20, 39.9):
        assert rate_factor(cosine, epoch) == pytest.approx(math.cos(math.pi * epoch / 80) ** 2)
    assert rate_factor(cosine, 20) == pytest.approx(0.5)


def test_warm_up_is_linear_and_the_rest_follows_it():
    warm = recipe(schedule="cosine", epochs=12, warmup_epochs=2)
    assert rate_factor(warm, 0) == 0.0
    assert rate_factor(warm, 0.5) == 0.25
    assert rate_factor(warm, 2) == 1.0
    assert rate_factor(warm, 7) == pytest.approx(0.5)
    assert rate_factor(recipe(epochs=12, warmup_epochs=2), 11) == 1.0


def test_warm_up_all_the_way():
    warm = recipe(schedule="cosine", epochs=4, warmup_epochs=4)
    assert rate_factor(warm, 3.0) == 0.75
    assert math.isfinite(rate_factor(warm, 4.0))


@pytest.mark.parametrize("dimension", [64, 512])
def test_inverse_sqrt_is_the_schedule_of_vaswani_et_al(dimension):
    warmup = 4000
    peak = (dimension * warmup) ** -0.5
    recipe_of_it = recipe(schedule="inverse_sqrt", warmup_steps=warmup, learning_rate=peak)
    for step in (1, 2, 100, 3999, 4000, 4001, 16_000, 100_000):
        expected = dimension**-0.5 * min(step**-0.5, step * warmup**-1.5)  # their equation 3
        assert peak * rate_factor(recipe_of_it, 0.0, step=step) == pytest.approx(expected)


def test_warm_up_by_steps_multiplies_any_schedule():
    for schedule in ("constant", "cosine", "step"):
        plain = recipe(schedule=schedule, epochs=10)
        warm = recipe(schedule=schedule, epochs=10, warmup_steps=4)
        for step in range(1, 9):
            epoch = (step - 1) / 2
            factor = rate_factor(warm, epoch, step=step) / rate_factor(plain, epoch)
            assert factor == pytest.approx(min(1, step / 4))


def test_milestones_and_cosine_follow_the_length_of_the_training():
    assert rate_factor(recipe(schedule="cosine", epochs=40), 5, length=10) == pytest.approx(0.5)
    step = recipe(schedule="step", epochs=100, milestones=(0.5,))
    assert [rate_factor(step, e, length=8) for e in (3.9, 4.0)] == pytest.approx([1.0, 0.1])


def test_training_ends_at_a_loss_that_is_low_enough():
    low = recipe(stop_at_loss=0.01)
    assert [should_stop(low, [loss]) for loss in (0.011, 0.01, 0.0)] == [False, True, True]
    assert not should_stop(recipe(), [0.0])
    assert should_stop(recipe(stop_at_loss=0.0), [1.0, 0.0])


STOP = {"early_stop": True, "early_stop_after": 30, "early_stop_window": 5}


def test_settled_after_thirty_epochs_when_five_changes_are_small():
    flat = [1.0] * 29
    assert not has_settled(recipe(**STOP), flat)
    assert has_settled(recipe(**STOP), [*flat, 1.0])
    assert not has_settled(recipe(), [*flat, 1.0])


@pytest.mark.parametrize("back", range(1, 6))
def test_one_large_change_among_the_last_five_goes_on(back):
    losses = [1.0] * 40
    for i in range(40 - back, 40):
        losses[i] += 2e-4
    assert not has_settled(recipe(**STOP), losses)


def test_a_large_change_before_the_last_five_does_not_count():
    losses = [2.0] * 34 + [1.0] * 6
    assert has_settled(recipe(**STOP), losses)
    assert not has_settled(recipe(**STOP), losses[:-1])


def test_a_steady_fall_below_the_tolerance_has_settled_and_above_has_not():
    slow = [1 - 0.9e-4 * i for i in range(40)]
    fast = [1 - 1.1e-4 * i for i in range(40)]
    assert has_settled(recipe(**STOP), slow)
    assert not has_settled(recipe(**STOP), fast)
    rising = [1 + 1.1e-4 * i for i in range(40)]
    assert not has_settled(recipe(**STOP), rising)


def test_the_window_must_be_full():
    short = recipe(early_stop=True, early_stop_after=1, early_stop_window=3)
    assert not has_settled(short, [1.0] * 3)
    assert has_settled(short, [1.0] * 4)
