"""A folder with plugins of its own, declared in an llt.toml as a user would."""

import itertools
from pathlib import Path

import pytest

import llt_core

PLUGINS = '''
from pathlib import Path

import torch

from llt_core.interfaces import (
    Architecture, ClassificationTask, DataError, Measurement, Metric, Needs, Quantity,
    TaskDescription, TensorExamples, parameter,
)

HERE = Path(__file__).parent


def called(name):
    """Note a call in a file that tests can read."""
    with (HERE / "calls").open("a") as file:
        file.write(name + "\\n")


def vector(model):
    return torch.cat([p.detach().double().flatten() for p in model.parameters()])


class Norm(Metric):
    summary = "Euclidean norm of the weights"
    returns = (Quantity(name="norm", unit="", description="length"),)
    scale: float = parameter(1.0, gt=0, description="factor")

    def measure(self, context):
        called("norm")
        value = self.scale * float(vector(context.model).norm())
        arrays = {"weights": vector(context.model).numpy()}
        return [Measurement(name="norm", value=value, standard_error=0.0, n=1, arrays=arrays)]


class Distance(Metric):
    summary = "Distance of two models"
    scope = "pair"
    returns = (Quantity(name="distance", unit="", description="length"),)

    def measure(self, context):
        one, two = (
            context.remember(("vector",), lambda index=index: self.read(context, index), index)
            for index in range(2)
        )
        return [Measurement(name="distance", value=float((one - two).norm()))]

    def read(self, context, index):
        called("read")
        return vector(context.models[index])


class Spread(Metric):
    summary = "Spread of all models"
    scope = "set"
    returns = (Quantity(name="spread", unit="", description="mean standard deviation"),)

    def measure(self, context):
        stacked = torch.stack([vector(model) for model in context.models])
        return [Measurement(name="spread", value=float(stacked.std(0).mean()), n=len(stacked))]


class Fails(Metric):
    summary = "Raises while a file called fail is there"
    returns = (Quantity(name="fails", unit="", description="nothing"),)

    def measure(self, context):
        called("fails")
        if (HERE / "fail").exists():
            raise ZeroDivisionError("on purpose")
        if (HERE / "interrupt").exists():
            raise KeyboardInterrupt
        return [Measurement(name="fails", value=0.0)]


class Undeclared(Metric):
    summary = "Returns what it does not declare"
    returns = (Quantity(name="promised", unit="", description="nothing"),)

    def measure(self, context):
        return [Measurement(name="other", value=0.0)]


class Curvature(Metric):
    summary = "Needs second derivatives"
    needs = Needs(second_order=True)
    returns = (Quantity(name="curvature", unit="", description="nothing"),)

    def measure(self, context):
        return [Measurement(name="curvature", value=0.0)]


class Validation(Metric):
    summary = "Reads a split that few tasks have"
    needs = Needs(splits=("validation",))
    returns = (Quantity(name="validation", unit="", description="nothing"),)

    def measure(self, context):
        return [Measurement(name="validation", value=0.0)]


class OnceOnly(Architecture):
    summary = "Cannot be differentiated twice"
    accepts = frozenset({"image"})

    def build(self, task):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(task.outputs))

    def lacks_second_order(self):
        return "its attention kernel has one derivative only"


class Words(Architecture):
    summary = "Reads text"
    accepts = frozenset({"text"})

    def build(self, task):
        return torch.nn.Linear(1, 1)


class Interrupted(Architecture):
    summary = "Is interrupted while it is built, for one seed"
    accepts = frozenset({"image"})

    def build(self, task):
        called("build")
        if (HERE / "interrupt").exists() and len((HERE / "calls").read_text().split("build")) == 3:
            raise KeyboardInterrupt
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))


class ThirdFails(Architecture):
    summary = "Raises when it is built for the third time"
    accepts = frozenset({"image"})

    def build(self, task):
        called("build")
        if (HERE / "calls").read_text().split().count("build") == 3:
            raise ZeroDivisionError("on purpose")
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))


class FileTask(ClassificationTask):
    summary = "Two classes of small images, from one file"
    split_policy = "even rows train, odd rows test"
    levels: list[int] = parameter([0, 255], description="gray of the classes")

    def describe(self):
        return TaskDescription(modality="image", input_shape=(3, 2, 2), outputs=2)

    def files(self, data_root):
        return (data_root / "gray.bin",)

    def datasets(self, data_root):
        called("datasets")
        rows = torch.tensor(list((data_root / "gray.bin").read_bytes()), dtype=torch.uint8)
        images = rows.view(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()
        labels = (rows >= 128).long()
        return {
            "train": TensorExamples(images[::2], labels[::2], classes=2),
            "test": TensorExamples(images[1::2], labels[1::2], classes=2),
        }

    def tiny(self):
        images = torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
        return dict.fromkeys(("train", "test"), TensorExamples(images, torch.arange(4) % 2))
'''

KINDS = {
    "norm": ("metric", "Norm"),
    "distance": ("metric", "Distance"),
    "spread": ("metric", "Spread"),
    "fails": ("metric", "Fails"),
    "undeclared": ("metric", "Undeclared"),
    "curvature": ("metric", "Curvature"),
    "validation": ("metric", "Validation"),
    "once_only": ("architecture", "OnceOnly"),
    "words": ("architecture", "Words"),
    "third_fails": ("architecture", "ThirdFails"),
    "interrupted": ("architecture", "Interrupted"),
    "file_task": ("task", "FileTask"),
}
NUMBERS = itertools.count()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change into a folder whose llt.toml declares the plugins above; data lie there too."""
    module = f"sweep_plugins_{next(NUMBERS)}"
    (tmp_path / f"{module}.py").write_text(PLUGINS)
    (tmp_path / "llt.toml").write_text(
        "\n".join(
            f'[{name}]\nkind = "{kind}"\ntarget = "{module}:{cls}"\nsummary = "test"'
            for name, (kind, cls) in KINDS.items()
        )
    )
    (tmp_path / "gray.bin").write_bytes(bytes(range(0, 256, 2)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here):
    """Return llt_core.run with a tiny network on the file task; keywords override."""

    def tiny_run(metrics=(), **changes):
        settings = {
            "task": "file_task",
            "architecture": "mlp:width=4,depth=1",
            "train": {"epochs": 1, "batch_size": 16},
            "store": here / "store",
            "data_root": here,
            "compute": {"threads": 1},
        } | changes
        return llt_core.run(settings.pop("task"), metrics, **settings)

    return tiny_run
