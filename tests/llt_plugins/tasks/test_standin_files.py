"""The tasks on files that other programs wrote: the stand-ins' tool and Debian's package."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torchvision

from llt_core.interfaces import DataError
from llt_plugins.tasks.cifar import Cifar10, Cifar100
from llt_plugins.tasks.mnist import FashionMnist
from llt_plugins.tasks.svhn import Svhn

SHARED = Path(os.environ.get("LLT_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
TOOL = SHARED / "tools" / "make_image_standins.py"
FASHION = Path("/usr/share/datasets/fashion-mnist")

needs_fashion = pytest.mark.skipif(
    not (FASHION / "train-images-idx3-ubyte.gz").is_file(),
    reason="needs the Debian package dataset-fashion-mnist",
)
needs_tool = pytest.mark.skipif(not TOOL.is_file(), reason="needs make_image_standins.py")
xdist_group = pytest.mark.xdist_group("standins")


@pytest.fixture(scope="module")
def standins(tmp_path_factory):
    """Return a data root with stand-ins for CIFAR-10, CIFAR-100 and SVHN."""
    root = tmp_path_factory.mktemp("standins")
    options = ["--train", "500", "--test", "200", "--only", "cifar10,cifar100,svhn"]
    command = [sys.executable, TOOL, root, "--source", FASHION, *options]
    subprocess.run(command, check=True, capture_output=True)
    return root


@pytest.fixture(scope="module")
def fashion(tmp_path_factory):
    """Return a data root with the real Fashion-MNIST."""
    root = tmp_path_factory.mktemp("fashion")
    for path in FashionMnist().files(root):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.decompress((FASHION / f"{path.name}.gz").read_bytes()))
    return root


def without_md5(source):
    """Return torchvision's class with its checks of md5 switched off."""
    if source is torchvision.datasets.SVHN:
        lists = {key: [url, file, None] for key, (url, file, _) in source.split_list.items()}
        return type("Unchecked", (source,), {"split_list": lists})
    changes = {
        "train_list": [[file, None] for file, _ in source.train_list],
        "test_list": [[file, None] for file, _ in source.test_list],
        "meta": {**source.meta, "md5": None},
    }
    return type("Unchecked", (source,), changes)


@xdist_group
@needs_tool
@needs_fashion
@pytest.mark.parametrize("task", [Cifar10, Cifar100, Svhn])
def test_every_image_is_the_one_torchvision_shows(task, standins):
    instance = task(verify=False)
    instance.prepare(standins)
    data = instance.datasets(standins)
    source = without_md5(getattr(torchvision.datasets, task.title.replace("-", "")))
    for split, examples in data.items():
        which = {"split": split} if task is Svhn else {"train": split == "train"}
        expected = source(str(standins), **which)
        assert len(examples) == len(expected) == {"train": 500, "test": 200}[split]
        for index in (0, 17, len(expected) - 1):
            image, label = expected[index]
            pixels = examples.inputs[index].permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(pixels, np.asarray(image))
            assert int(examples.targets[index]) == label


@xdist_group
@needs_tool
@needs_fashion
@pytest.mark.parametrize("task", [Cifar10, Cifar100, Svhn])
def test_standins_are_refused_unless_the_user_says_so(task, standins):
    before = {path: path.stat().st_mtime_ns for path in standins.rglob("*")}
    with pytest.raises(DataError, match=r"task\.verify=false"):
        task().prepare(standins)
    assert {path: path.stat().st_mtime_ns for path in standins.rglob("*")} == before


@xdist_group
@needs_fashion
def test_the_real_fashion_mnist_is_verified(fashion):
    task = FashionMnist()
    task.prepare(fashion)
    data = task.datasets(fashion)
    assert [len(data[split]) for split in ("train", "test")] == [60_000, 10_000]
    assert data["train"].targets.bincount().tolist() == [6000] * 10
    counts = np.bincount(data["train"].inputs.numpy().ravel(), minlength=256)
    shares, values = counts / counts.sum(), np.arange(256) / 255
    mean = float(shares @ values)
    assert mean == pytest.approx(task.mean[0], abs=1e-3)
    assert float(shares @ (values - mean) ** 2) ** 0.5 == pytest.approx(task.std[0], abs=1e-3)
