"""What a careless metric leaves behind is noticed, told, and costs no other measurement."""

import pytest
import torch
from torch import nn

import llt_core
from llt_core.errors import LltError
from llt_core.interfaces import Metric
from llt_core.work.undisturbed import Watch

CARELESS = '''
import torch
from llt_core.interfaces import Measurement, Metric, Quantity, parameter


class Careless(Metric):
    """Does something it should not."""

    summary = "leaves something behind"
    returns = (Quantity(name="careless", unit="", description="nothing"),)
    fault: str = parameter("weights", description="what it does")

    def measure(self, context):
        model = context.model
        match self.fault:
            case "weights" | "raises":
                for weight in model.parameters():
                    weight.data.zero_()
                context.scores("train")
            case "mode":
                model.train()
            case "frozen":
                model.requires_grad_(False)
            case "gradients":
                context.loss(model, context.batches("train", 8)[0]).backward()
            case "scores":
                context.scores("train")["loss"].zero_()
            case "float64":
                torch.set_default_dtype(torch.float64)
        if self.fault == "raises":
            raise ArithmeticError("after the weights are gone")
        return [Measurement(name="careless", value=1.0)]
'''
MANIFEST = """
[careless]
kind = "metric"
target = "careless_metrics:Careless"
summary = "leaves something behind"
"""
HOW = {
    "architecture": "mlp:width=4,depth=1",
    "train": {"epochs": 1, "batch_size": 512},
    "compute": {"threads": 1, "device": "cpu"},
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "careless_metrics.py").write_text(CARELESS)
    (tmp_path / "llt.toml").write_text(MANIFEST)
    monkeypatch.chdir(tmp_path)
    return lambda *metrics: llt_core.run("digits", list(metrics), store=tmp_path / "store", **HOW)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("weights", "changed the values of parameter"),
        ("mode", "changed the train/eval mode of module"),
        ("frozen", "changed requires_grad of parameter"),
        ("gradients", "changed .grad of parameter"),
        ("float64", "changed torch's default dtype"),
        ("raises", "ArithmeticError: after the weights are gone"),
        ("scores", ""),
    ],
)
def test_what_one_metric_leaves_changed_no_other_sees(run, fault, words):
    alone = run("train_loss")["train_loss"][0].value
    together = run(f"careless:fault={fault}", "test_loss", "train_accuracy")
    lost = [result.message for result in together.failed]
    assert len(lost) == bool(words)
    assert words in "".join(lost)
    if words:
        assert "careless_metrics.Careless.measure" in lost[0]
        with pytest.raises(KeyError):
            together["careless"]
    found = together["train_accuracy"][0].value
    clean = llt_core.run("digits", ["train_loss", "train_accuracy"], store="clean", **HOW)
    assert found == clean["train_accuracy"][0].value
    assert alone == clean["train_loss"][0].value
    assert torch.get_default_dtype() == torch.float32


class Named(Metric):
    summary = "a metric with a name"

    def measure(self, context):
        return []


@pytest.fixture
def network():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()


def test_nan_is_no_change_and_a_replaced_tensor_is_one(network):
    with torch.no_grad():
        network[0].weight.fill_(torch.nan)
    watch = Watch([network])
    with watch.over(Named(), "named", [0]):
        network[0].weight.data = network[0].weight.data.clone()
    assert not watch.disturbed
    with (
        pytest.raises(LltError, match=r"changed the buffer '1\.running_mean'"),
        watch.over(Named(), "named", [0]),
    ):
        network[1].running_mean = torch.ones(2)
    assert watch.disturbed


def test_a_hook_left_behind_is_a_change(network):
    watch = Watch([network])
    with (
        pytest.raises(LltError, match="changed the hooks of module '0'"),
        watch.over(Named(), "named", [0]),
    ):
        network[0].register_forward_hook(lambda *_: None)
