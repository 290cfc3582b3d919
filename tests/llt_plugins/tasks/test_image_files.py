"""Reading files of the published layouts, and refusing those that are not right."""

import hashlib
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from llt_core.interfaces import DataError
from llt_plugins.tasks.cifar import Cifar10, Cifar100
from llt_plugins.tasks.mnist import FashionMnist, Mnist
from llt_plugins.tasks.svhn import Svhn

TASKS = {
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "svhn": Svhn,
    "mnist": Mnist,
    "fashion_mnist": FashionMnist,
}
every_task = pytest.mark.parametrize("name", TASKS)


def contents(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def accept(monkeypatch, task, root):
    """Declare the files under ``root`` to be the published ones."""
    found = {
        split: {name: hashlib.md5((root / name).read_bytes()).hexdigest() for name in names}
        for split, names in type(task).published.items()
    }
    monkeypatch.setattr(type(task), "published", found)


@every_task
def test_pixels_and_labels_survive(name, write):
    written, task = write(name), TASKS[name](verify=False)
    task.prepare(written.root)
    data = task.datasets(written.root)
    assert tuple(data) == task.describe().splits
    for split, examples in data.items():
        assert examples.inputs.dtype == torch.uint8
        assert examples.inputs.shape[1:] == task.describe().input_shape
        assert examples.inputs.permute(0, 2, 3, 1).is_contiguous()
        assert examples.classes == task.describe().outputs
        np.testing.assert_array_equal(
            examples.inputs.permute(0, 2, 3, 1).numpy(), written.images[split]
        )
        np.testing.assert_array_equal(examples.targets.numpy(), written.labels[split])
        assert examples.targets.dtype == torch.int64


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_a_known_pixel_keeps_its_colours_and_place(name, write):
    train = TASKS[name](verify=False).datasets(write(name).root)["train"]
    assert train.inputs[7, :, 1, 2].tolist() == [201, 102, 3]


def test_svhn_label_ten_is_the_digit_zero(write):
    data = Svhn(verify=False).datasets(write("svhn").root)
    assert 0 in data["train"].targets
    assert int(data["train"].targets.max()) == 9


@every_task
def test_batches_are_normalised_and_channels_last(name, write):
    task = TASKS[name](verify=False)
    train = task.datasets(write(name).root)["train"]
    batch = train.batch(torch.tensor([3, 1, 5, 7]))
    assert batch.inputs.is_contiguous(memory_format=torch.channels_last)
    mean, std = (torch.tensor(x).view(1, -1, 1, 1) for x in (task.mean, task.std))
    expected = (train.inputs[[3, 1, 5, 7]].double() / 255 - mean) / std
    torch.testing.assert_close(batch.inputs.double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(batch.targets, train.targets[[3, 1, 5, 7]])


@every_task
def test_other_files_are_refused_unless_the_user_says_so(name, write, offline):
    written = write(name)
    before = contents(written.root)
    first = TASKS[name]().files(written.root)[0]
    for step in (TASKS[name]().prepare, TASKS[name]().datasets):
        with pytest.raises(DataError) as caught:
            step(written.root)
        message = str(caught.value)
        assert first.name in message
        assert hashlib.md5(first.read_bytes()).hexdigest() in message
        assert next(iter(TASKS[name].published["train"].values())) in message
        assert "--set task.verify=false" in message
        assert "downloaded again" in message
    assert contents(written.root) == before


@every_task
def test_published_files_are_accepted(name, write, monkeypatch):
    task, root = TASKS[name](), write(name).root
    accept(monkeypatch, task, root)
    task.prepare(root)
    assert len(task.datasets(root)["train"]) == 40
    path = task.files(root)[-1]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=path.name):
        task.prepare(root)


@every_task
def test_missing_files_are_named_with_both_ways_on(name, tmp_path, offline):
    task = TASKS[name]()
    with pytest.raises(DataError) as caught:
        task.prepare(tmp_path / "nowhere")
    message = str(caught.value)
    for file in task.files(Path()):
        assert file.as_posix() in message
    assert str(tmp_path / "nowhere") in message
    assert "LLT_OFFLINE" in message
    for way in ("--data-root", "LLT_DATA", "--task digits"):
        assert way in message
    assert not (tmp_path / "nowhere").exists()


def test_own_files_are_not_completed_with_published_ones(write, monkeypatch):
    root = write("cifar10").root
    (root / "cifar-10-batches-py" / "data_batch_3").unlink()
    monkeypatch.setattr(Cifar10, "fetch", lambda self, folder: pytest.fail("downloaded"))
    with pytest.raises(DataError, match="1 of 6 files of CIFAR-10 are missing"):
        Cifar10(verify=False).prepare(root)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_arrays_pickled_by_python_2_are_read_without_a_remark(name, write):
    written, task = write(name), TASKS[name](verify=False)
    for path in task.files(written.root):
        # dtype("u1", False, True) was dtype("u1", 0, 1) then; NumPy remarks on it now.
        old = path.read_bytes().replace(b"\x89\x88\x87", b"K\x00K\x01\x87")
        assert old != path.read_bytes()
        path.write_bytes(old)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train = task.datasets(written.root)["train"]
    assert train.inputs[7, :, 1, 2].tolist() == [201, 102, 3]


@every_task
@pytest.mark.parametrize("damage", ["empty", "truncated", "rubbish"])
def test_a_broken_file_is_named(name, damage, write):
    written, task = write(name), TASKS[name](verify=False)
    for path in task.files(written.root):
        whole = path.read_bytes()
        broken = {
            "empty": b"",
            "truncated": whole[: len(whole) // 2],
            "rubbish": bytes(range(1, 200)),
        }
        path.write_bytes(broken[damage])
        with pytest.raises(DataError, match=path.name):
            task.datasets(written.root)
        path.write_bytes(whole)
    task.datasets(written.root)


def test_labels_outside_the_classes_are_refused(write):
    root = write("mnist").root
    path = root / "MNIST/raw/t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x0a")
    with pytest.raises(DataError, match="labels from 0 to 10"):
        Mnist(verify=False).datasets(root)


def test_images_of_another_size_are_refused(write):
    written = write("mnist")
    shutil.move(written.root / "MNIST", written.root / "FashionMNIST")
    path = written.root / "FashionMNIST/raw/train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[8:16] = bytes((0, 0, 0, 14, 0, 0, 0, 56))
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"holds \(40, 14, 56, 1\) of uint8"):
        FashionMnist(verify=False).datasets(written.root)


def test_a_leftover_of_old_torchvision_versions_is_not_read(write):
    written = write("mnist")
    processed = written.root / "MNIST" / "processed"
    processed.mkdir()
    for file in ("training.pt", "test.pt"):
        torch.save(
            (torch.zeros(5, 28, 28, dtype=torch.uint8), torch.zeros(5).long()), processed / file
        )
    assert len(Mnist(verify=False).datasets(written.root)["train"]) == 40


@every_task
def test_the_fingerprint_changes_with_one_byte(name, write):
    root, task = write(name).root, TASKS[name](verify=False)
    before = task.fingerprint(root)
    assert before == task.fingerprint(root)
    path = task.files(root)[-1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))  # coarse clocks: do not rely on the time having moved
    assert task.fingerprint(root) != before


def test_only_verified_tasks_are_pinned():
    assert Svhn().pinned()
    assert not Svhn(verify=False).pinned()
    assert Svhn(verify=False).non_defaults() == {"verify": False}


@pytest.mark.parametrize("task", [Cifar10, Cifar100])
def test_declared_cifar_files_are_those_of_torchvision(task):
    source = getattr(torchvision.datasets, task.torchvision_name)
    lists = {"train": source.train_list, "test": source.test_list}
    expected = {
        split: {f"{source.base_folder}/{name}": md5 for name, md5 in files}
        for split, files in lists.items()
    }
    assert task.published == expected


def test_declared_svhn_files_are_those_of_torchvision():
    source = torchvision.datasets.SVHN.split_list
    assert Svhn.published == {
        split: {source[split][1]: source[split][2]} for split in Svhn.published
    }


@pytest.mark.parametrize("task", [Mnist, FashionMnist])
def test_declared_idx_files_are_those_of_torchvision(task):
    source = getattr(torchvision.datasets, task.torchvision_name)
    expected = [
        f"{task.torchvision_name}/raw/{name.removesuffix('.gz')}" for name, _ in source.resources
    ]
    assert [file.as_posix() for file in task().files(Path())] == expected


@every_task
def test_tiny_examples_have_the_right_shapes(name):
    task = TASKS[name]()
    tiny, again = task.tiny(), task.tiny()
    assert [len(tiny[split]) for split in task.describe().splits] == [12, 8]
    for split, examples in tiny.items():
        assert examples.inputs.shape[1:] == task.describe().input_shape
        assert examples.inputs.dtype == torch.uint8
        assert int(examples.targets.max()) < task.describe().outputs
        assert torch.equal(examples.inputs, again[split].inputs)
    assert len(tiny["train"].targets.unique()) == min(12, task.describe().outputs)


def test_torch_is_not_needed_to_find_and_check_files(write):
    root = write("svhn").root
    code = f"""
import sys
import warnings
from pathlib import Path
import llt_plugins.tasks.cifar, llt_plugins.tasks.mnist, llt_plugins.tasks.digits
from llt_plugins.tasks.svhn import Svhn
from llt_plugins.perturbations import data_subset, label_noise
task, root = Svhn(verify=False), Path({str(root)!r})
task.describe(), task.files(root), task.prepare(root), task.fingerprint(root)
llt_plugins.tasks.digits.Digits().prepare(root)
print([name for name in ("torch", "torchvision", "sklearn", "pandas") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
