import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn
import torch
from sklearn.datasets import load_digits

from llt_core.interfaces import DataError
from llt_plugins.tasks.digits import Digits


@pytest.fixture(scope="module")
def splits():
    return Digits().datasets(Path("unused"))


def test_images_are_those_of_scikit_learn(splits):
    digits = load_digits()
    order = np.random.RandomState(0).permutation(len(digits.target))
    images = np.concatenate([splits[s].inputs.numpy() for s in ("train", "test")])
    labels = np.concatenate([splits[s].targets.numpy() for s in ("train", "test")])
    assert images.shape == (1797, 1, 32, 32)
    np.testing.assert_array_equal(labels, digits.target[order])
    np.testing.assert_array_equal(
        images[:, 0], np.kron(np.rint(digits.images[order] * 255 / 16), np.ones((1, 4, 4)))
    )


def test_the_split_is_1437_and_360_with_every_class_in_both(splits):
    assert {split: len(examples) for split, examples in splits.items()} == {
        "train": 1437,
        "test": 360,
    }
    for examples in splits.values():
        assert int(examples.targets.bincount(minlength=10).min()) > 0
    assert "seed 0" in Digits.split_policy


def test_the_split_is_the_same_in_another_process(splits):
    code = (
        "from pathlib import Path; from llt_plugins.tasks.digits import Digits;"
        "print(Digits().datasets(Path())['test'].targets.tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(splits["test"].targets.tolist())
    # Pinned: the split of today is the split of next year.
    assert splits["test"].targets[:10].tolist() == [7, 9, 4, 7, 0, 2, 6, 1, 3, 1]


def test_the_constants_are_those_of_the_training_split(splits):
    values = splits["train"].inputs.double() / 255
    assert float(values.mean()) == pytest.approx(Digits.mean[0], abs=1e-6)
    assert float(values.std(correction=0)) == pytest.approx(Digits.std[0], abs=1e-6)


def test_it_reads_one_file_inside_scikit_learn(tmp_path):
    (path,) = Digits().files(tmp_path)
    assert path == Path(sklearn.__file__).parent / "datasets" / "data" / "digits.csv.gz"
    assert path.is_file()
    assert Digits().pinned()
    assert Digits().fingerprint(tmp_path).startswith("sha256:")


def test_another_table_is_refused_but_another_compression_is_not(tmp_path, monkeypatch):
    (path,) = Digits().files(tmp_path)
    content = gzip.decompress(path.read_bytes())
    copy = tmp_path / "digits.csv.gz"
    monkeypatch.setattr(Digits, "files", lambda self, data_root: (copy,))
    copy.write_bytes(gzip.compress(content, compresslevel=1))
    Digits().prepare(tmp_path)
    copy.write_bytes(gzip.compress(b"1" + content[1:]))
    with pytest.raises(DataError, match="not the published table"):
        Digits().datasets(tmp_path)
    copy.write_bytes(copy.read_bytes()[:100])
    with pytest.raises(DataError, match=r"digits\.csv\.gz cannot be read"):
        Digits().prepare(tmp_path)
    copy.unlink()
    with pytest.raises(DataError, match=r"digits\.csv\.gz cannot be read"):
        Digits().prepare(tmp_path)


def test_without_scikit_learn_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        Digits().prepare(tmp_path)


def test_tiny_examples_have_the_right_shapes():
    tiny = Digits().tiny()
    assert tiny["train"].inputs.shape == (12, 1, 32, 32)
    assert tiny["test"].inputs.shape == (8, 1, 32, 32)
    assert tiny["train"].inputs.dtype == torch.uint8
    assert tiny["train"].targets.unique().tolist() == list(range(10))
