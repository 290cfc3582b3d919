"""Outputs and activations, taken as they are at the moment a layer returns them."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import nn

from llt_core.testing.checks import model_state
from llt_plugins.similarity.features import (
    class_probabilities,
    layers,
    outputs,
    pooled,
    single,
)


class Spoiler(nn.Module):
    """Changes the output of its first layer in place, as `out += shortcut(x)` does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        y = self.first(x)
        y += x
        y.relu_()
        return self.second(y)


class Pair(NamedTuple):
    count: torch.Tensor
    hidden: torch.Tensor


class Odd(nn.Module):
    """Gives tuples, dictionaries and things that are no tensor."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x):
        return {
            "tuple": (torch.ones(len(x)).long(), 2 * x),
            "named": Pair(torch.ones(len(x)).long(), 2 * x),
            "dict": {"count": 1, "hidden": 2 * x},
            "text": "nothing",
            "counts": (torch.ones(len(x)).long(),),
        }[self.kind]


def inputs(count=3, size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, 3, generator=generator) for _ in range(count)]


def test_activations_are_read_before_anything_changes_them():
    torch.manual_seed(0)
    model, batches = Spoiler().eval(), inputs()
    x = torch.cat(batches)
    found = dict(layers(model, batches, ["second", "first"]))
    assert list(found) == ["second", "first"]
    first = model.first(x)
    assert torch.allclose(found["first"], first, atol=1e-6)
    assert torch.allclose(found["second"], model.second((first + x).relu()), atol=1e-6)
    assert torch.allclose(outputs(model, batches), model(x), atol=1e-6)
    assert not found["first"].requires_grad


@pytest.mark.parametrize("memory", [1, 100, 1 << 30])
def test_a_memory_limit_changes_the_number_of_passes_only(memory):
    torch.manual_seed(0)
    model, batches = Spoiler().eval(), inputs(5)
    calls = []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    found = dict(layers(model, batches, ["first", "second"], memory=memory))
    handle.remove()
    assert torch.allclose(found["first"], model.first(torch.cat(batches)), atol=1e-6)
    # 20 samples of 3 floats are 240 bytes a layer; the first batch is never run again.
    assert len(calls) == (5 if memory > 480 else 1 + 2 * 4)


@pytest.mark.parametrize("kind", ["tuple", "named", "dict"])
def test_the_tensor_inside_an_output_is_found(kind):
    model = nn.Sequential()
    model.add_module("odd", Odd(kind))
    batches = inputs()
    ((_, x),) = layers(model, batches, ["odd"])
    assert torch.equal(x, 2 * torch.cat(batches))
    assert torch.equal(outputs(model, batches), 2 * torch.cat(batches))


@pytest.mark.parametrize("kind", ["text", "counts"])
def test_an_output_without_a_tensor_is_named(kind):
    model = nn.Sequential()
    model.add_module("odd", Odd(kind))
    with pytest.raises(ValueError, match=r"the layer 'odd' returns a (str|tuple)"):
        list(layers(model, inputs(), ["odd"]))
    with pytest.raises(ValueError, match="the model returns"):
        outputs(model, inputs())


def test_layers_that_do_not_exist_or_run_are_named_and_no_hook_stays():
    model = Spoiler().eval()
    before = model_state(model)
    with pytest.raises(ValueError, match="does not use the layer unused"):
        list(layers(model, inputs(), ["first", "unused"]))
    with pytest.raises(ValueError, match="no layer 'third'; it has first"):
        list(layers(model, inputs(), ["third"]))
    with pytest.raises(ValueError, match="no inputs"):
        list(layers(model, [], ["first"]))
    with pytest.raises(ValueError, match="no inputs"):
        outputs(model, [])
    with pytest.raises(RuntimeError):
        list(layers(model, [torch.ones(2, 5)], ["second"]))
    assert model_state(model) == before


def test_positional_and_keyword_inputs():
    class Sum(nn.Module):
        def forward(self, a, b):
            return a + 2 * b

    a, b = inputs(2)
    assert torch.equal(outputs(Sum(), [(a, b)]), a + 2 * b)
    assert torch.equal(outputs(Sum(), [{"b": b, "a": a}]), a + 2 * b)
    model = nn.Sequential()
    model.add_module("sum", Sum())
    model.forward = lambda a, b: model.sum(a, b)
    ((_, x),) = layers(model, [(a, b), (b, a)], ["sum"])
    assert torch.equal(x, torch.cat([a + 2 * b, b + 2 * a]))


def test_pooling_by_hand():
    image = torch.arange(2 * 3 * 2 * 2, dtype=torch.float32).reshape(2, 3, 2, 2)
    assert torch.equal(pooled(image, "average")[0], torch.tensor([1.5, 5.5, 9.5]))
    assert pooled(image, "flatten").shape == (2, 12)
    tokens = torch.arange(12.0).reshape(1, 4, 3)
    assert torch.equal(pooled(tokens, "average"), torch.tensor([[4.5, 5.5, 6.5]]))
    assert pooled(torch.ones(5), "average").shape == (5, 1)
    assert pooled(image.flatten(1), "average").shape == (2, 12)


def test_half_precision_is_widened():
    assert outputs(nn.Identity(), [torch.ones(2, 3, dtype=torch.bfloat16)]).dtype == torch.float32
    assert outputs(nn.Identity(), [torch.ones(2, 3, dtype=torch.float64)]).dtype == torch.float64


def test_probabilities_are_over_classes():
    for shape, axis in (((2, 5), 1), ((2, 5, 3, 3), 1), ((2, 7, 5), 2)):
        total = class_probabilities(torch.randn(*shape)).sum(axis)
        assert torch.allclose(total, torch.ones_like(total))


def test_single_prefers_the_tensor_itself():
    x = torch.ones(2)
    assert single(x, "it") is x
