"""Blocks, groups of parameters, memory and the ways of computing, against the full Hessian."""

from __future__ import annotations

import gc
import resource
import sys

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from llt_plugins.curvature.operators.copies import evaluation_copy
from llt_plugins.curvature.operators.hessian import HessianOperator
from llt_plugins.curvature.operators.memory import graph_bytes
from llt_plugins.curvature.operators.parameters import parameter_groups

CLOSE = {"rtol": 1e-9, "atol": 1e-11}


@pytest.mark.parametrize("retain", [True, False])
@pytest.mark.parametrize("sizes", [(), (5, 4, 3)])
def test_a_block_of_all_unit_vectors_is_the_full_hessian(case, sizes, retain):
    expected = case.hessian()
    with HessianOperator(case.model, case.losses(*sizes), retain=retain) as operator:
        actual = operator.matmat(torch.eye(operator.size))
        assert operator.unbatched is None
        assert operator.plain is None
    assert actual.dtype == torch.float64
    torch.testing.assert_close(actual, expected, **CLOSE)


def test_a_block_is_cut_to_the_budget_and_stays_right(make_case):
    case = make_case("conv_bn")
    expected = case.hessian()
    operator = HessianOperator(case.model, case.losses(7, 5), memory_budget=0)
    operator._graph(0)
    assert operator._together(operator._sizes[0], 64) == 1
    assert operator.retained == 0
    torch.testing.assert_close(operator.matmat(torch.eye(operator.size)), expected, **CLOSE)
    operator = HessianOperator(case.model, case.losses(7, 5))
    operator._graph(0)
    assert operator._together(operator._sizes[0], 64) > 1
    assert operator.retained > 0


def test_no_columns_are_no_columns(make_case):
    case = make_case("mlp")
    operator = HessianOperator(case.model, case.losses())
    assert operator.matmat(torch.empty(operator.size, 0)).shape == (operator.size, 0)
    with pytest.raises(ValueError, match=r"block has shape \(3, 2\)"):
        operator.matmat(torch.ones(3, 2))


def test_some_of_the_graphs_are_kept_when_not_all_fit(make_case):
    case = make_case("conv_bn")
    alone = HessianOperator(case.model, case.losses(3, 3, 3, 3))
    alone.matvec(torch.ones(alone.size))
    one = alone.retained / 4
    kept = {}
    for graphs in (0, 1, 2, 3, 4):
        operator = HessianOperator(
            case.model, case.losses(3, 3, 3, 3), memory_budget=int((graphs + 0.5) * one)
        )
        product = operator.matvec(torch.ones(operator.size))
        assert operator.retained <= operator._budget
        kept[graphs] = round(operator.retained / one)
        torch.testing.assert_close(product, case.hessian().sum(1), **CLOSE)
    assert kept == {0: 0, 1: 0, 2: 1, 3: 2, 4: 4}  # room for one more that comes and goes


def test_a_few_of_many_graphs_are_not_worth_their_memory(make_case):
    case = make_case("conv_bn")
    alone = HessianOperator(case.model, case.losses(*[1] * 12))
    alone.matvec(torch.ones(alone.size))
    one = alone.retained / 12
    for fitting, kept in ((2.5, False), (3.5, True)):
        operator = HessianOperator(
            case.model, case.losses(*[1] * 12), memory_budget=int(fitting * one)
        )
        operator.matvec(torch.ones(operator.size))
        assert (operator.retained > 0) == kept


def test_what_vmap_cannot_do_is_done_one_by_one_and_said(make_case):
    class Stubborn(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, slope):
            (x,) = ctx.saved_tensors
            if slope.norm().item() < 0:  # .item() is what vmap refuses
                raise AssertionError
            return slope * x.cos()

    case = make_case("mlp")
    losses = [(1, lambda m: cross_entropy(Stubborn.apply(m(case.inputs)), case.targets))]
    operator = HessianOperator(case.model, losses)
    block = operator.matmat(torch.eye(operator.size))
    assert "item" in operator.unbatched
    torch.testing.assert_close(block, operator.matrix(), **CLOSE)


def test_groups_partition_the_parameters_and_give_diagonal_blocks(case):
    groups = parameter_groups(case.model)
    names = [name for name, p in case.model.named_parameters() if p.requires_grad]
    assert sorted(name for group in groups.values() for name in group) == sorted(names)
    hessian, start, where = case.hessian(), 0, {}
    for name, p in case.model.named_parameters():
        if p.requires_grad:
            where[name] = torch.arange(start, start + p.numel())
            start += p.numel()
    whole = HessianOperator(case.model, case.losses(6, 6))
    assert whole.parameter_names == tuple(names)
    for group in groups.values():
        index = torch.cat([where[name] for name in group])
        block = whole.restricted(group[::-1])  # the order is the model's all the same
        torch.testing.assert_close(block.matrix(), hessian[index][:, index], **CLOSE)


def test_blocks_go_by_prefix():
    model = nn.ModuleDict(
        {
            "stem": nn.Linear(2, 2),
            "stage": nn.Sequential(
                nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
            ),
        }
    )
    model["stage"][0].requires_grad_(False)
    assert list(parameter_groups(model, "block")) == ["stem", "stage"]
    groups = parameter_groups(model, "block", ["stage.0", "stage.1"])
    assert {group: len(names) for group, names in groups.items()} == {"stem": 2, "stage.1": 4}
    with pytest.raises(ValueError, match="no submodule called 'stages'"):
        parameter_groups(model, "block", ["stages"])
    with pytest.raises(ValueError, match="lies within another"):
        parameter_groups(model, "block", ["stage", "stage.1"])


def test_wrong_names_are_refused(make_case):
    tied, frozen = make_case("tied"), make_case("frozen")
    for names, message in (
        (["first.weights"], "no parameter called 'first.weights'"),
        (["first.weight", "second.weight"], "named twice"),
        ([], "no parameter is named"),
    ):
        with pytest.raises(ValueError, match=message):
            HessianOperator(tied.model, tied.losses(), parameters=names)
    with pytest.raises(ValueError, match="is frozen"):
        HessianOperator(frozen.model, frozen.losses(), parameters=["0.weight"])
    by_tied_name = HessianOperator(tied.model, tied.losses(), parameters=["second.weight"])
    assert by_tied_name.parameter_names == ("first.weight",)


def test_nan_weights_give_nan_not_a_number(make_case):
    case = make_case("conv_bn")
    with torch.no_grad():
        case.model[0].weight[0, 0, 0, 0] = torch.nan
    operator = HessianOperator(case.model, case.losses())
    assert operator.matvec(torch.ones(operator.size)).isnan().any()
    assert operator.matmat(torch.ones(operator.size, 2)).isnan().any(dim=0).all()


def test_a_model_that_wants_images_in_the_default_layout_gets_them():
    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(64, 2)

        def forward(self, x):
            x = self.conv(x)
            return self.head(x.view(len(x), -1))

    model = Viewing()
    inputs, targets = torch.randn(5, 3, 6, 6), torch.tensor([0, 1, 0, 1, 1])

    def loss(m):
        return cross_entropy(m(inputs.to(m.head.weight)), targets)

    operator = HessianOperator(model, [(5, loss)])
    exact = HessianOperator(evaluation_copy(model, torch.float64), [(5, loss)])
    vector = torch.ones(operator.size)
    torch.testing.assert_close(operator.matvec(vector), exact.matvec(vector), rtol=1e-4, atol=1e-5)
    assert not operator._channels_last
    assert operator.plain is None


def test_graph_bytes_counts_each_storage_once():
    x = torch.randn(100, dtype=torch.float64, requires_grad=True)
    y = x.exp()  # saves its result, which the product saves again, twice
    assert graph_bytes([(y * y).sum()], besides=[x]) == (800, 800)
    assert graph_bytes([x.detach()]) == (0, 0)


def test_repeated_products_leave_memory_flat(make_case):
    case = make_case("conv_bn")
    inputs, targets = case.inputs.float().repeat(5, 1, 1, 1), case.targets.repeat(5)
    model = evaluation_copy(case.model)
    losses = [(60, lambda m: cross_entropy(m(inputs), targets))] * 2
    operators = [HessianOperator(model, losses, retain=retain) for retain in (True, False)]
    block = torch.randn(operators[0].size, 3)

    def products(times):
        for number in range(times):
            for operator in operators:
                if number % 4:
                    operator.matvec(block[:, 0])
                else:
                    operator.matmat(block)
        gc.collect()
        return len(gc.get_objects())

    before = products(10)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    after = products(200)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    assert after - before < 50
    assert grown / (1 << (20 if sys.platform == "darwin" else 10)) < 8  # MiB: a graph is 0.2
