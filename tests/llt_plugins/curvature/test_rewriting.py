"""The rewritten function is the same function: values, and derivatives of every order."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from llt_plugins.curvature.first_order import gradient, mean_loss
from llt_plugins.curvature.operators.convolution import Geometry, convolve
from llt_plugins.curvature.operators.hessian import HessianOperator
from llt_plugins.curvature.operators.rectifier import rectify
from llt_plugins.curvature.operators.rewriting import Rewriting

GEOMETRIES = {
    "plain": (2, Geometry((1, 1), (1, 1), (1, 1), 1)),
    "strided": (2, Geometry((2, 1), (0, 1), (1, 2), 1)),
    "grouped": (2, Geometry((1, 1), (1, 0), (1, 1), 2)),
    "series": (1, Geometry((2,), (1,), (1,), 1)),
    "volume": (3, Geometry((1, 1, 1), (0, 0, 0), (1, 1, 1), 1)),
}


def operands(space, groups, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        numbers = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return numbers.requires_grad_()

    return draw(2, 4, *[4] * space), draw(4, 4 // groups, *[2] * space), draw(4)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_convolutions_have_the_right_first_second_and_third_derivatives(name):
    space, geometry = GEOMETRIES[name]
    x, weight, bias = operands(space, geometry.groups)
    native = (torch.conv1d, torch.conv2d, torch.conv3d)[space - 1]
    expected = native(
        x, weight, bias, geometry.stride, geometry.padding, geometry.dilation, geometry.groups
    )
    actual = convolve(x, weight, bias, geometry)
    torch.testing.assert_close(actual, expected)
    order = [expected, actual]
    for _ in range(3):  # of a loss of fourth degree, along fixed directions
        order = [
            sum(
                g.pow(2).sum()
                for g in torch.autograd.grad(y.pow(2).sum(), (x, weight, bias), create_graph=True)
            )
            for y in order
        ]
        torch.testing.assert_close(order[1], order[0], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["strided", "grouped"])
def test_convolutions_pass_the_numerical_check(name):
    space, geometry = GEOMETRIES[name]
    arguments = operands(space, geometry.groups)

    def function(x, weight, bias):
        return convolve(x, weight, bias, geometry)

    assert gradcheck(function, arguments)
    assert gradgradcheck(function, arguments)


def test_relu_is_torch_s_with_its_kink_and_nan():
    x = torch.tensor([-1.0, 0.0, 2.0, torch.nan], requires_grad=True)
    for inplace in (False, True):
        with_grad = [functional.relu(x * 1), rectify(x * 1, inplace=inplace)]
        torch.testing.assert_close(with_grad[1], with_grad[0], equal_nan=True)
        slopes = [torch.autograd.grad(y.square().sum(), x, create_graph=True)[0] for y in with_grad]
        torch.testing.assert_close(slopes[1], slopes[0], equal_nan=True)
        second = [torch.autograd.grad(s.square().sum(), x)[0] for s in slopes]
        torch.testing.assert_close(second[1], second[0], equal_nan=True)
    changed = x * 1
    rectify(changed, inplace=True)
    assert changed[0] == 0


class _Net(nn.Module):
    """Every relation of a convolution to a batch norm that must, or must not, become one."""

    def __init__(self, conv, norm, kind):
        super().__init__()
        self.conv, self.norm, self.kind = conv, norm, kind
        self.again = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        y = self.conv(x)
        if self.kind == "in between":
            y += 1.0
        z = self.norm(y)
        if self.kind == "used twice":
            z = z + y.tanh()
        if self.kind == "conv twice":
            z = z + self.again(self.conv(x.flip(3)))
        if self.kind == "norm first":
            z = self.conv(self.norm(z))
        return self.head(functional.relu(z, inplace=True).mean((2, 3)))


def network(kind):
    torch.manual_seed(5)
    conv = nn.Conv2d(4, 4, 3, padding=1, bias=kind == "bias", groups=1 + (kind == "grouped"))
    norm = nn.BatchNorm2d(4, affine=kind != "not affine")
    if kind == "hook":
        conv.register_forward_hook(lambda module, args, output: output * 2)
    if kind == "parametrised":
        nn.utils.parametrizations.weight_norm(conv)
    if kind == "padding":
        conv = nn.Conv2d(4, 4, 3, padding="same", padding_mode="circular")
    model = _Net(conv, norm, kind)
    for module in (model.norm, model.again):
        module.running_mean.normal_()
        module.running_var.uniform_(0.5, 2.0)
        if module.affine:
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model.double().eval()


KINDS = [
    "alone",
    "bias",
    "not affine",
    "grouped",
    "in between",
    "used twice",
    "conv twice",
    "norm first",
    "hook",
    "parametrised",
    "padding",
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_hessian_is_that_of_the_model_as_it_is(kind):
    model = network(kind)
    inputs = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    targets = torch.tensor([0, 1, 2])

    def loss(m):
        return functional.cross_entropy(m(inputs), targets)

    operator = HessianOperator(model, [(3, loss)])
    plain = HessianOperator(model, [(3, loss)])
    plain.plain = "to compare with"
    vectors = torch.randn(operator.size, 3, dtype=torch.float64)
    expected = torch.stack([plain.matvec(v) for v in vectors.T], dim=1)
    assert operator.plain is None
    torch.testing.assert_close(operator.matmat(vectors), expected, rtol=1e-10, atol=1e-12)
    for v, product in zip(vectors.T, expected.T, strict=True):
        torch.testing.assert_close(operator.matvec(v), product, rtol=1e-10, atol=1e-12)


def test_batch_norm_leaves_the_graph_where_it_follows_a_convolution():
    inputs = torch.randn(3, 4, 5, 5, dtype=torch.float64)

    def nodes(kind):
        with Rewriting():
            waiting = [network(kind)(inputs).grad_fn]
        names = set()
        while waiting:
            node = waiting.pop()
            names.add(node.name())
            waiting += [n for n, _ in node.next_functions if n is not None]
        return names

    assert not any("BatchNorm" in name for name in nodes("alone"))
    assert any("BatchNorm" in name for name in nodes("in between"))


def test_a_batch_norm_in_training_mode_is_left_alone():
    norm, conv, x = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), torch.randn(3, 4, 5, 5)
    with Rewriting():
        norm(conv(x))
    assert int(norm.num_batches_tracked) == 1


def test_other_kinds_of_numbers_and_transforms_are_left_to_torch():
    model, x = network("alone"), torch.randn(3, 4, 5, 5, dtype=torch.float64)
    with Rewriting():
        batched = torch.vmap(lambda one: model(one[None])[0])(x)
        with torch.autocast("cpu", torch.bfloat16):
            low = model.float()(x.float())
    torch.testing.assert_close(batched, model.double()(x))
    assert low.dtype == torch.bfloat16


@pytest.mark.parametrize("width", range(1, 9))
def test_narrow_networks_are_right_every_time(width):
    """oneDNN writes past its workspace for some narrow channels-last convolutions."""
    torch.manual_seed(width)
    model = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 1, stride=2, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 3),
    ).eval()
    inputs, targets = torch.randn(16, 3, 16, 16), torch.arange(16) % 3

    def loss(m):
        return functional.cross_entropy(m(inputs.to(m[0].weight)), targets)

    operator = HessianOperator(model, [(16, loss)])
    vector = torch.randn(operator.size)
    block = vector[:, None].expand(-1, 3)
    products = [operator.matvec(vector) for _ in range(4)] + list(operator.matmat(block).T)
    assert operator._channels_last
    exact = HessianOperator(model.double(), [(16, loss)]).matvec(vector)
    for product in products:
        assert (product - exact).norm() < 1e-4 * exact.norm()


class Picky(nn.Conv2d):
    """Refuses what a rewritten convolution returns: its layout, or whatever made it."""

    refuses = "layout"

    def forward(self, x):
        y = super().forward(x)
        if self.refuses == "layout":
            return y.view(len(y), -1).view(y.shape)
        if y.grad_fn is not None and "ConvolutionBackward0" not in y.grad_fn.name():
            raise RuntimeError("not one of torch's own convolutions")
        return y


@pytest.mark.parametrize("refuses", ["layout", "everything"])
def test_a_model_that_refuses_the_fast_way_gets_a_slower_one_and_the_same_numbers(refuses):
    torch.manual_seed(0)
    model = nn.Sequential(Picky(2, 3, 3), nn.Flatten(), nn.Linear(27, 3))
    model[0].refuses = refuses
    inputs, targets = torch.randn(4, 2, 5, 5), torch.tensor([0, 1, 2, 0])
    operator = HessianOperator(model, [(4, lambda m: functional.cross_entropy(m(inputs), targets))])
    vector = torch.randn(operator.size)
    product = operator.matvec(vector)
    model[0].refuses = ""
    parameters = list(model.parameters())
    loss = functional.cross_entropy(model(inputs), targets)
    slopes = torch.autograd.grad(loss, parameters, create_graph=True)
    flat = torch.cat([slope.reshape(-1) for slope in slopes])
    expected = torch.autograd.grad(flat @ vector, parameters)
    expected = torch.cat([part.reshape(-1) for part in expected])
    torch.testing.assert_close(product.float(), expected, rtol=1e-4, atol=1e-5)
    if refuses == "layout":
        assert operator.plain is None
    else:
        assert "torch's own" in operator.plain


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_weight_normalisation_has_the_right_second_derivatives(wrap, dim):
    """Those of torch's own kernel are wrong, so differences of gradients are the judge."""
    torch.manual_seed(2)
    model = nn.Sequential(
        wrap(nn.Conv2d(2, 3, 2), dim=dim), nn.Tanh(), nn.Flatten(), wrap(nn.Linear(12, 2), dim=dim)
    ).double()
    inputs, targets = torch.randn(4, 2, 3, 3, dtype=torch.float64), torch.tensor([0, 1, 0, 1])
    parameters = list(model.parameters())

    def loss(m):
        return functional.cross_entropy(m(inputs), targets)

    def gradient():
        slopes = torch.autograd.grad(loss(model), parameters)
        return torch.cat([slope.reshape(-1) for slope in slopes])

    operator = HessianOperator(model, [(4, loss)])
    plain = HessianOperator(model, [(4, loss)])
    plain.plain = "to see that this way is right too"
    vector = torch.randn(operator.size, dtype=torch.float64)
    moves = vector.split([p.numel() for p in parameters])
    ends = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            for parameter, move in zip(parameters, moves, strict=True):
                parameter.add_(move.view_as(parameter), alpha=step)
        ends.append(gradient())
    with torch.no_grad():
        for parameter, move in zip(parameters, moves, strict=True):
            parameter.add_(move.view_as(parameter), alpha=1e-5)
    expected = (ends[0] - ends[1]) / 2e-5
    assert operator.plain is None
    for product in (operator.matvec(vector), plain.matvec(vector)):
        torch.testing.assert_close(product, expected, rtol=1e-5, atol=1e-8)


def test_embeddings_that_train_with_sparse_gradients():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Embedding(7, 3, padding_idx=0), nn.Flatten(), nn.Linear(12, 2))
    words, targets = torch.randint(0, 7, (5, 4)), torch.tensor([0, 1, 0, 1, 1])

    def loss(m):
        return functional.cross_entropy(m(words), targets)

    expected = HessianOperator(model, [(5, loss)]).matrix()
    model[0].sparse = True
    operator = HessianOperator(model, [(5, loss)])
    assert torch.equal(operator.matrix(), expected)
    assert operator.plain is None


@pytest.fixture
def padded_encoder():
    """A network and a loss of which, without gradients, torch leaves out the padding."""
    torch.manual_seed(1)
    layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 1).eval()
    inputs, targets = torch.randn(5, 3, 4), torch.tensor([0, 1, 0, 1, 1])
    padded = torch.tensor([[False, False, True]]).expand(5, -1)

    def loss(m):
        logits = m(inputs, src_key_padding_mask=padded).mean(1)[:, :2]
        return functional.cross_entropy(logits, targets)

    return encoder, [(5, loss)]


def test_encoder_layers_that_skip_what_is_padded_keep_the_fast_way(padded_encoder):
    operator = HessianOperator(*padded_encoder)
    operator.matvec(torch.ones(operator.size))
    assert operator.plain is None


def test_the_mean_loss_is_that_of_the_gradient_also_with_padding(padded_encoder):
    assert mean_loss(*padded_encoder) == pytest.approx(gradient(*padded_encoder)[0], rel=1e-6)
