"""Learning-rate factors against closed forms, and the early-stop rule."""

import math

import pytest

from llt_core.spec import TrainingRecipe
from llt_core.work.schedule import has_settled, rate_factor


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
