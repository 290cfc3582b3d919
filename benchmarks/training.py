"""One epoch of resnet18 (width 8) on 10,000 CIFAR-format images: llt against the plain recipe.

    python benchmarks/training.py [--data-root DIR] [--repeat 5] [--threads 2]

The plain recipe is torchvision's CIFAR10 + ToTensor + Normalize behind a DataLoader with two
workers, default memory layout, SGD as most scripts write it. Both train the same model from
the same weights with the same batch size; epochs are interleaved, and the test accuracy after
all of them is printed beside the times. DIR holds `cifar-10-batches-py`; without it, files of
that format are made from the digits that ship with scikit-learn (tinted and shifted).
"""

from __future__ import annotations

import argparse
import colorsys
import multiprocessing
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from llt_core.interfaces import Examples, forward
from llt_core.spec import TrainingRecipe
from llt_core.work.memory import keep_freed_memory
from llt_core.work.trainer import Trainer
from llt_plugins.architectures.resnet import ResNet18
from llt_plugins.tasks.cifar import Cifar10

TRAIN, TEST, BATCH = 10_000, 2_000, 128
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.data_root or make_files(Path(folder))
        compare(root, arguments.repeat, arguments.threads)


def compare(root: Path, repeat: int, threads: int) -> None:
    """Run the epochs in turn, each side in a process of its own: allocators differ too."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for name, side in (("plain", plain_side), ("llt", llt_side)):
        pipes[name], theirs = context.Pipe()
        context.Process(target=side, args=(theirs, root, repeat, threads)).start()
        pipes[name].recv()
    times: dict[str, list[float]] = {name: [] for name in pipes}
    for epoch in range(1, repeat + 1):
        for name, pipe in pipes.items():
            pipe.send(epoch)
            times[name].append(pipe.recv())
        print(f"epoch {epoch}: plain {times['plain'][-1]:.2f} s, llt {times['llt'][-1]:.2f} s")
    ratios = [a / b for a, b in zip(times["plain"], times["llt"], strict=True)]
    print(
        f"median: plain {statistics.median(times['plain']):.2f} s, "
        f"llt {statistics.median(times['llt']):.2f} s, "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    for name, pipe in pipes.items():
        pipe.send(0)
        print(f"test accuracy after {repeat} epochs, {name}: {pipe.recv():.2f} %")


def serve(pipe: Connection, epoch: Callable[[int], object], score: Callable[[], float]) -> None:
    """Answer each epoch number with the seconds it took, and 0 with the final score."""
    pipe.send("ready")
    while number := pipe.recv():
        start = time.perf_counter()
        epoch(number)
        pipe.send(time.perf_counter() - start)
    pipe.send(score())


def plain_side(pipe: Connection, root: Path, repeat: int, threads: int) -> None:
    model, test = prepare(root, threads)[::2]
    loader = plain_loader(root)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    serve(pipe, lambda _: plain_epoch(model, loader, optimizer), lambda: accuracy(model, test))


def llt_side(pipe: Connection, root: Path, repeat: int, threads: int) -> None:
    model, train, test = prepare(root, threads)
    keep_freed_memory()  # as every worker of llt does
    recipe = TrainingRecipe(batch_size=BATCH, epochs=repeat)
    trainer = Trainer(model, Cifar10(), train, recipe, seed=0, device=torch.device("cpu"))
    serve(pipe, trainer.epoch, lambda: accuracy(model, test))


def prepare(root: Path, threads: int) -> tuple[nn.Module, Examples, Examples]:
    """Return the same initial network and splits on both sides."""
    torch.set_num_threads(threads)
    task = Cifar10(verify=False)
    splits = task.datasets(root)
    torch.manual_seed(0)
    network = ResNet18(width=8).build(task.describe())
    return network, splits["train"].subset(torch.arange(TRAIN)), splits["test"]


def plain_loader(root: Path) -> DataLoader:
    class Unverified(datasets.CIFAR10):
        train_list = [[name, None] for name, _ in datasets.CIFAR10.train_list]
        test_list = [[name, None] for name, _ in datasets.CIFAR10.test_list]
        meta = {**datasets.CIFAR10.meta, "md5": None}

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    data = Subset(Unverified(root, train=True, transform=transform), range(TRAIN))
    # fork is what a plain script's workers start by on Linux; this process was spawned.
    return DataLoader(
        data,
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        multiprocessing_context="fork",
    )


def plain_epoch(model: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer) -> None:
    model.train()
    criterion = nn.CrossEntropyLoss()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()


@torch.no_grad()
def accuracy(model: nn.Module, examples: Examples) -> float:
    model.eval()
    correct = 0
    for index in examples.slices(500):
        batch = examples.batch(index)
        correct += int((forward(model, batch).argmax(1) == batch.targets).sum())
    return 100 * correct / len(examples)


def make_files(root: Path) -> Path:
    """Write CIFAR-10-format files from real digits: 32×32, tinted, shifted by up to 3 pixels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(digits.images))
    pools = {"train": order[:1437], "test": order[1437:]}
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    names = {f"data_batch_{i}": ("train", TRAIN // 5) for i in range(1, 6)}
    for name, (split, count) in {**names, "test_batch": ("test", TEST)}.items():
        chosen = rng.choice(pools[split], count)
        images = np.stack([tinted(digits.images[i], rng) for i in chosen])
        content = {"data": images.reshape(count, 3072), "labels": digits.target[chosen].tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    meta = {"label_names": [str(number) for number in range(10)], "num_vis": 3072}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    return root


def tinted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    gray = np.kron(image / 16, np.ones((4, 4)))
    gray = np.roll(gray, rng.integers(-3, 4, 2), (0, 1))
    colour = np.array(colorsys.hsv_to_rgb(rng.random(), 0.6, 1.0))
    return np.rint(255 * colour[:, None, None] * gray).astype(np.uint8)


if __name__ == "__main__":
    main()
