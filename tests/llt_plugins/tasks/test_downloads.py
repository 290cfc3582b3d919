"""Downloads: all or nothing, never over what is there, and never for ever."""

import functools
import gzip
import hashlib
import http.server
import socket
import tarfile
import threading

import pytest
import torchvision

from llt_core.interfaces import DataError
from llt_plugins.tasks import download as downloads
from llt_plugins.tasks.cifar import Cifar10
from llt_plugins.tasks.mnist import Mnist
from llt_plugins.tasks.svhn import Svhn


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Return a folder and the address of a local server that offers it."""
    monkeypatch.delenv("LLT_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def online(monkeypatch):
    monkeypatch.delenv("LLT_OFFLINE", raising=False)


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def publish(monkeypatch, task, root):
    """Declare the files under ``root`` to be the published ones of ``task``."""
    found = {
        split: {name: md5(root / name) for name in names} for split, names in task.published.items()
    }
    monkeypatch.setattr(task, "published", found)


def offer_svhn(monkeypatch, root, served, address):
    source = {}
    for split in ("train", "test"):
        file = f"{split}_32x32.mat"
        (served / file).write_bytes((root / file).read_bytes())
        source[split] = [f"{address}/{file}", file, md5(served / file)]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", source)


def offer_cifar10(monkeypatch, root, served, address):
    source = torchvision.datasets.CIFAR10
    with tarfile.open(served / source.filename, "w:gz") as archive:
        archive.add(root / source.base_folder, source.base_folder)
    monkeypatch.setattr(source, "url", f"{address}/{source.filename}")
    monkeypatch.setattr(source, "tgz_md5", md5(served / source.filename))


def offer_mnist(monkeypatch, root, served, address):
    resources = []
    for path in sorted((root / "MNIST/raw").iterdir()):
        archive = served / f"{path.name}.gz"
        archive.write_bytes(gzip.compress(path.read_bytes()))
        resources.append((archive.name, md5(archive)))
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"{address}/"])
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)


@pytest.mark.parametrize(
    ("name", "task", "offer"),
    [
        ("svhn", Svhn, offer_svhn),
        ("cifar10", Cifar10, offer_cifar10),
        ("mnist", Mnist, offer_mnist),
    ],
)
def test_torchvision_downloads_from_a_server(
    name, task, offer, write, served, tmp_path, monkeypatch, capfd
):
    written = write(name)
    publish(monkeypatch, task, written.root)
    offer(monkeypatch, written.root, *served)
    target = tmp_path / "new" / "root"
    task().prepare(target)
    assert len(task().datasets(target)["train"]) == 40
    found = sorted(p.relative_to(target) for p in target.rglob("*") if p.is_file())
    assert found == sorted(p.relative_to(target) for p in task().files(target))
    assert capfd.readouterr().out == ""


def test_a_server_that_says_no_is_reported(served, tmp_path, monkeypatch, write):
    offer_svhn(monkeypatch, write("svhn").root, *served)
    for file in served[0].iterdir():
        file.unlink()
    with pytest.raises(DataError, match="not downloaded: HTTPError: HTTP Error 404"):
        Svhn().prepare(tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_silent_server_is_given_up(tmp_path, monkeypatch, online):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        source = {split: [url, f"{split}_32x32.mat", "0"] for split in ("train", "test")}
        monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", source)
        with pytest.raises(DataError, match="timed out"):
            Svhn().prepare(tmp_path)
    assert socket.getdefaulttimeout() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_download_leaves_nothing(end, tmp_path, monkeypatch, online):
    def half(self, folder):
        (folder / "train_32x32.mat").write_bytes(b"half")
        raise end

    monkeypatch.setattr(Svhn, "fetch", half)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(KeyboardInterrupt if end is KeyboardInterrupt else DataError):
        Svhn().prepare(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_is_there_is_never_overwritten(tmp_path, monkeypatch, online, write):
    written = write("svhn")
    publish(monkeypatch, Svhn, written.root)
    good = (written.root / "test_32x32.mat").read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    (other / "test_32x32.mat").write_bytes(good)
    inode = (other / "test_32x32.mat").stat().st_ino

    def fetch(self, folder):
        for split in ("train", "test"):
            name = f"{split}_32x32.mat"
            (folder / name).write_bytes((written.root / name).read_bytes())

    monkeypatch.setattr(Svhn, "fetch", fetch)
    Svhn().prepare(other)
    assert (other / "test_32x32.mat").stat().st_ino == inode
    assert (other / "train_32x32.mat").is_file()


def test_a_wrong_file_is_refused_before_anything_is_downloaded(tmp_path, monkeypatch, online):
    (tmp_path / "test_32x32.mat").write_bytes(b"mine")
    monkeypatch.setattr(Svhn, "fetch", lambda self, folder: pytest.fail("downloaded"))
    with pytest.raises(DataError, match=r"task\.verify=false"):
        Svhn().prepare(tmp_path)
    assert (tmp_path / "test_32x32.mat").read_bytes() == b"mine"


def test_downloaded_files_must_be_the_published_ones(tmp_path, monkeypatch, online):
    def fetch(self, folder):
        for split in ("train", "test"):
            (folder / f"{split}_32x32.mat").write_bytes(b"not it")

    monkeypatch.setattr(Svhn, "fetch", fetch)
    with pytest.raises(DataError, match="is not the published file"):
        Svhn().prepare(tmp_path)
    assert list(tmp_path.iterdir()) == []
