"""Real images on which perturbations are checked: digits, and files in the format of CIFAR-10."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llt_plugins.tasks.cifar import Cifar10
from llt_plugins.tasks.digits import Digits

SHARED = Path(os.environ.get("LLT_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
TOOL = SHARED / "tools" / "make_image_standins.py"
FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(scope="session")
def digits():
    return Digits().datasets(Path())


@pytest.fixture(scope="session")
def cifar(tmp_path_factory):
    """Return stand-ins for CIFAR-10: real garments, tinted, in files of its format."""
    if not TOOL.is_file() or not (FASHION / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip("needs make_image_standins.py and the Debian package dataset-fashion-mnist")
    root = tmp_path_factory.mktemp("cifar")
    options = ["--train", "1000", "--test", "200", "--only", "cifar10"]
    subprocess.run([sys.executable, TOOL, root, "--source", FASHION, *options], check=True)
    return Cifar10(verify=False).datasets(root)


@pytest.fixture(params=["digits", "cifar"])
def splits(request):
    return request.getfixturevalue(request.param)
