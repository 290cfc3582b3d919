"""Metrics with a fraction of the samples at once, as after memory ran out: the same numbers."""

import pytest
import torch

from llt_core.interfaces import MeasureContext
from llt_core.plugins import Catalogue
from llt_core.plugins.loader import load
from llt_core.testing.samples import TinyImages, small_network
from llt_core.testing.text_samples import TinyTexts, small_translator

CATALOGUE = Catalogue.discover()
METRICS = [e for e in CATALOGUE.entries if e.kind == "metric" and CATALOGUE.state(e) == "ok"]
MODELS = {"model": 1, "pair": 2, "set": 3}
TASKS = {"images": (TinyImages(), small_network), "texts": (TinyTexts(), small_translator)}
HALVINGS = 8
"""Of 512, the most that any metric here asks for, 2 are left."""

MINIBATCHES = {"loss_plane", "mode_connectivity", "linear_connectivity"}
"""These estimate batch norm from whole minibatches, of which the halves would be others."""


def measured(metric, task, network, halvings):
    """Return the measurements, and the largest batch that passed a network in eval mode."""
    models = tuple(network(task.describe(), seed) for seed in range(MODELS[metric.scope]))
    largest = 0

    def look(module, args, kwargs):
        nonlocal largest
        first = (*args, *kwargs.values())[0]
        if not module.training and not torch._C._functorch.is_batchedtensor(first):
            largest = max(largest, len(first))

    for model in models:
        model.register_forward_pre_hook(look, with_kwargs=True)
    context = MeasureContext(task, models, task.tiny(), seed=1, sample_seed=2, halvings=halvings)
    return metric.measure(context), largest


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("entry", METRICS, ids=lambda entry: entry.name)
def test_fewer_at_once_give_the_same_numbers(entry, kind):
    metric, (task, network) = load(entry).minimal(), TASKS[kind]
    if metric.refuses(task.describe()):
        pytest.skip(f"does not read {kind}")
    if kind == "texts" and metric.second_order():
        pytest.skip("gets its batches as for images, and takes seconds")
    plain, whole = measured(metric, task, network, 0)
    halved, part = measured(metric, task, network, HALVINGS)
    if kind == "texts" or entry.name not in MINIBATCHES:
        assert part <= 2
        assert whole > part or whole == 0
    assert [m.name for m in halved] == [m.name for m in plain]
    for one, two in zip(plain, halved, strict=True):
        assert (two.status, two.n) == (one.status, one.n)
        assert two.value == pytest.approx(one.value, rel=1e-3, abs=1e-5)
        if one.standard_error is None:
            assert two.standard_error is None
        else:
            assert two.standard_error == pytest.approx(one.standard_error, rel=1e-2, abs=1e-5)
