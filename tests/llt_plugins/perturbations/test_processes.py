"""The same perturbed bits in every process."""

import contextlib
import io
import os
import subprocess
import sys

SCRIPT = """
import hashlib
from pathlib import Path
import torch
from llt_core.plugins import Catalogue
from llt_core.plugins.loader import load
from llt_core.testing import TinyImages, small_network
from llt_plugins.tasks.digits import Digits

splits = Digits().datasets(Path())
model = small_network(TinyImages().describe())
for entry in Catalogue.discover().entries:
    if entry.kind != "perturbation":
        continue
    perturbation = load(entry).minimal()
    generator = torch.Generator().manual_seed(7)
    if perturbation.stage == "weights":
        tensors = list(perturbation.apply(model, generator).parameters())
    else:
        few = splits["train"].batch(torch.arange(99))
        subject = splits if perturbation.stage == "data" else few
        after = perturbation.apply(subject, generator)
        if perturbation.stage == "data":
            after = after["train"].batch(torch.arange(200))
        tensors = [after.inputs, after.targets, *(t for _, t in getattr(after, "mixture", ()))]
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(tensor.detach().contiguous().numpy().tobytes())
    print(entry.name, total.hexdigest())
"""


def lines(text):
    return dict(line.split() for line in text.splitlines())


def test_two_processes_agree_on_every_perturbation():
    environment = {**os.environ, "PYTHONHASHSEED": "random"}
    command = [sys.executable, "-c", SCRIPT]
    with contextlib.redirect_stdout(io.StringIO()) as here:
        exec(SCRIPT, {})
    there = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found = lines(here.getvalue())
    assert found == lines(there.stdout)
    assert len(set(found.values())) == len(found) >= 10
