"""Archives and folders: what is read, what is refused, and that nothing is left behind."""

import gzip
import io
import os
import random
import socket
import tarfile
import time
import tracemalloc

import pytest

from llt_core.analysis.untrusted import Limits, members, shown
from llt_core.errors import RequestError

FILES = {"a/one.pkl": b"1", "a/b/two.pkl": b"22" * 700, "notes.txt": b"not read"}


def header(name="a/x.pkl", size=0, kind=tarfile.REGTYPE, **more):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for key, value in more.items():
        setattr(info, key, value)
    return info


def tar(path, *entries, files=FILES, form=tarfile.GNU_FORMAT, mode="w:gz"):
    """Write an archive of good files, then of further headers, each with its data."""
    with tarfile.open(path, mode, format=form) as archive:
        for name, data in files.items():
            archive.addfile(header(name, len(data)), io.BytesIO(data))
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return path


def read(path, **limits):
    return dict(members(path, lambda name: name.endswith(".pkl"), Limits(**limits)))


def refused(path, what, where=None, **limits):
    with pytest.raises(RequestError, match=what) as caught:
        read(path, **limits)
    if where is not None:
        assert caught.value.where == where
    return caught.value


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Where to put an archive; nothing else may appear, not even for a moment's use."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.chdir(scratch)
    yield tmp_path / "results.tar.gz"
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_files_are_read_and_the_rest_is_named(path, form, mode):
    expected = FILES | {"notes.txt": None}
    assert read(tar(path, form=form, mode=mode)) == expected
    folders = [(header("a/", kind=tarfile.DIRTYPE), b""), (header("./c/x.pkl", 2), b"ok")]
    assert read(tar(path, *folders, form=form, mode=mode)) == expected | {"c/x.pkl": b"ok"}


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names(path, form):
    name = "/".join(["folder" * 10] * 5) + "/x.pkl"
    assert read(tar(path, files={name: b"7"}, form=form)) == {name: b"7"}


@pytest.mark.parametrize("name", ["/etc/x.pkl", "//x.pkl", "\\x.pkl", "C:\\x.pkl", "c:x.pkl"])
def test_absolute_names(path, name):
    refused(tar(path, (header(name, 1), b"1")), "its name is an absolute path", shown(name))


@pytest.mark.parametrize("name", ["../x.pkl", "a/../../x.pkl", "a/..", "..", "a\\..\\x.pkl"])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_that_lead_out(path, name, form):
    archive = tar(path, (header(name, 1), b"1"), form=form)
    refused(archive, "its name leads out of the archive", shown(name))


def test_a_folder_that_leads_out_and_a_file_nobody_reads(path):
    refused(tar(path, (header("../d", kind=tarfile.DIRTYPE), b"")), "leads out")
    refused(tar(path, (header("../readme", 1), b"1")), "leads out")


def test_a_name_that_an_attribute_replaces(path):
    info = header("a/harmless.pkl", 1, pax_headers={"path": "../../x.pkl"})
    refused(tar(path, (info, b"1"), form=tarfile.PAX_FORMAT), "leads out", "../../x.pkl")


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "it is a symbolic link"),
        (tarfile.LNKTYPE, "it is a hard link"),
        (tarfile.CHRTYPE, "it is a device"),
        (tarfile.BLKTYPE, "it is a device"),
        (tarfile.FIFOTYPE, "it is a named pipe"),
        (b"V", "it is no plain file"),
    ],
)
@pytest.mark.parametrize("name", ["a/x.pkl", "a/nobody reads it"])
def test_links_and_devices(path, kind, what, name):
    for target in ("/etc/passwd", "one.pkl"):
        info = header(name, kind=kind, linkname=target)
        refused(tar(path, (info, b"")), what, name)


def test_a_sparse_file(path):
    pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99999999999"}
    info = header("a/x.pkl", 512, pax_headers=pax)
    archive = tar(path, (info, b"1\n0\n512\n".ljust(512, b"\0")), form=tarfile.PAX_FORMAT)
    refused(archive, "it is no plain file", "a/x.pkl")


def test_the_same_file_twice(path):
    refused(tar(path, (header("a/one.pkl", 1), b"2")), "it occurs twice", "a/one.pkl")
    refused(tar(path, (header("./a//one.pkl", 1), b"2")), "it occurs twice", "a/one.pkl")


def test_more_files_than_the_limit(path):
    many = [(header(f"d{i}", kind=tarfile.DIRTYPE), b"") for i in range(20)]
    refused(tar(path, *many), "more than 10 files and folders", members=10)
    assert len(read(path, members=23)) == 3


def test_a_large_file(path):
    refused(tar(path), "1,400 bytes, where results have", "a/b/two.pkl", file_bytes=1399)
    refused(path, "it states 1,400 bytes", "a/b/two.pkl", member_bytes=1399)
    assert read(path, file_bytes=1400, member_bytes=1400)


def test_all_together_too_large(path):
    unpacked = len(gzip.decompress(tar(path).read_bytes()))
    refused(path, "it unpacks to more", total_bytes=unpacked - 1)
    assert read(path, total_bytes=unpacked)


def test_stated_sizes_are_not_believed(path):
    raw = header("a/x.pkl", 10**12).tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(gzip.compress(raw))
    refused(path, "it states 1,000,000,000,000 bytes", "a/x.pkl")
    raw = header("a/x.pkl", -512).tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(gzip.compress(raw))
    refused(path, "a header states -512 bytes", "a/x.pkl")
    info = header("a/x.pkl", 1, pax_headers={"size": str(10**12)})
    refused(tar(path, (info, b"1"), form=tarfile.PAX_FORMAT), "it states 1,000,000,000,000")
    info = header("a/x.pkl", 1, pax_headers={"size": "-5"})
    refused(tar(path, (info, b"1"), form=tarfile.PAX_FORMAT), "cannot be read|it states -5")


@pytest.mark.parametrize(
    "kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK]
)
def test_a_header_that_fills_the_memory(path, kind):
    raw = header("x", 2**30, kind=kind).tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(gzip.compress(raw + bytes(2**20)))
    tracemalloc.start()
    try:
        refused(path, "a header states 1073741824 bytes")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_headers_of_headers(path):
    name = header("x", 512, kind=tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(gzip.compress((name + b"a" * 512) * 5000))
    refused(path, "cannot be read")


def test_a_real_bomb_is_refused_within_seconds(path):
    # 8 GiB of files in 8 MiB: the same compressed gigabyte again and again.
    part = b"".join(
        header(f"a/{i}", 2**23).tobuf(tarfile.GNU_FORMAT) + bytes(2**23) for i in range(4)
    )
    path.write_bytes(gzip.compress(part, 1) * 256)
    assert path.stat().st_size < 64 * 2**20
    started = time.monotonic()
    tracemalloc.start()
    try:
        refused(path, "it unpacks to more", total_bytes=256 * 2**20)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < 20


def test_what_is_no_archive(path):
    for data in (b"", b"\x1f\x8b", b"width,batch\n1,2\n" * 99, b"PK\x03\x04" + bytes(600)):
        path.write_bytes(data)
        refused(path, "the archive cannot be read", str(path))
    refused(path.with_name("nowhere"), "there is no archive or folder")


def test_an_archive_cut_off_anywhere(path):
    data = tar(path, mode="w").read_bytes()
    for size in range(0, 5 * 512, 256):
        path.write_bytes(data[:size])
        refused(path, "the archive cannot be read")
    packed = gzip.compress(data)
    for size in range(len(packed)):
        path.write_bytes(packed[:size])
        refused(path, "the archive cannot be read")
    path.write_bytes(packed[:-8] + bytes(4) + packed[-4:])
    refused(path, "CRC check failed")


def test_a_damaged_header_is_not_taken_for_the_end(path):
    data = bytearray(tar(path, mode="w").read_bytes())
    assert data[1024 : 1024 + 11] == b"a/b/two.pkl"
    data[1024 + 2] ^= 1
    path.write_bytes(data)
    refused(path, "the archive cannot be read")


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_changed_bytes_are_read_or_refused(path, form):
    long = "/".join(["folder" * 10] * 3) + "/x.pkl"
    whole = tar(path, files=FILES | {long: b"7"}, form=form, mode="w").read_bytes()
    draw = random.Random(0)
    failed = 0
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            data[draw.randrange(len(data) - 8192)] = draw.randrange(256)
        if draw.random() < 0.7:  # a stranger computes the sum of the changed header
            for start in range(0, len(data) - 8192, 512):
                if data[start + 257 : start + 262] == b"ustar":
                    data[start + 148 : start + 156] = b" " * 8
                    total = sum(data[start : start + 512])
                    data[start + 148 : start + 156] = b"%06o\0 " % total
        path.write_bytes(data)
        try:
            read(path)
        except RequestError:
            failed += 1
    assert failed > 100


# Folders


@pytest.fixture
def folder(tmp_path):
    for name, data in FILES.items():
        file = tmp_path / "results" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tmp_path / "results"


def test_a_folder_reads_as_its_archive(folder):
    assert read(folder) == FILES | {"notes.txt": None}
    link = folder.with_name("link")
    link.symlink_to(folder)
    assert read(link) == FILES | {"notes.txt": None}


@pytest.mark.parametrize("target", ["/etc/passwd", "/etc", "one.pkl", "nowhere", ".."])
@pytest.mark.parametrize("name", ["a/x.pkl", "a/nobody reads it"])
def test_links_in_a_folder(folder, target, name):
    (folder / name).symlink_to(target)
    refused(folder, "it is a symbolic link", name)


def test_special_files_in_a_folder(folder):
    os.mkfifo(folder / "a/x.pkl")
    refused(folder, "it is no plain file", "a/x.pkl")
    (folder / "a/x.pkl").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "a/y.pkl"))
        refused(folder, "it is no plain file", "a/y.pkl")


def test_limits_of_a_folder(folder):
    refused(folder, "1,400 bytes, where results have", "a/b/two.pkl", file_bytes=1399)
    refused(folder, "more than 4 files and folders", members=4)
    assert read(folder, members=5)


def test_a_file_that_becomes_a_link_is_not_followed(folder, monkeypatch):
    def swapped(name):
        if name.endswith("one.pkl"):  # between the listing and the reading
            (folder / name).unlink()
            (folder / name).symlink_to("/etc/passwd")
        return name.endswith(".pkl")

    with pytest.raises(RequestError, match="a file cannot be read"):
        list(members(folder, swapped))


def test_a_name_of_thousands_of_characters(path):
    refused(tar(path, (header("a/" * 600 + "x.pkl", 1), b"1")), "its name has 1,205 characters")


def test_names_are_safe_to_print(path):
    error = refused(tar(path, (header("../\x1b[31m\n" + "x" * 60, 1), b"1")), "leads out")
    assert "\x1b" not in str(error)
    assert shown("a" * 500) == "a" * 100 + " … " + "a" * 40
