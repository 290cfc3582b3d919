"""Files of arrays: read as NumPy reads them, bombs and objects refused."""

import io
import random
import zipfile

import numpy as np
import pytest

from llt_core.analysis.untrusted import DamagedError, read_arrays
from llt_core.errors import RequestError


class Everything:
    def __contains__(self, name):
        return True


ALL = Everything()


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def zipped(*entries, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def npy(array=None, *, header=None, data=b"", version=(1, 0)):
    file = io.BytesIO()
    if header is None:
        np.lib.format.write_array(file, array, allow_pickle=True)
        return file.getvalue()
    text = header.encode("latin-1")
    size = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + size + text + data


ARRAYS = {
    "scalar": np.float64(1.5),
    "row": np.array([1.0, np.nan, np.inf]),
    "matrix": np.arange(6.0).reshape(2, 3),
    "small": np.array([1, 2], dtype=np.int8),
    "big_endian": np.array([1.0, 2.0], dtype=">f4"),
    "truth": np.array([True, False]),
    "none": np.empty((0, 3)),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_as_numpy_reads_them(save):
    file = io.BytesIO()
    save(file, **ARRAYS)
    read = read_arrays(file.getvalue(), "x", ALL)
    assert set(read) == set(ARRAYS)
    with np.load(io.BytesIO(file.getvalue())) as expected:
        for name, values in read.items():
            assert values.dtype == np.float64
            assert values.shape == expected[name].shape
            np.testing.assert_array_equal(values, expected[name])


def test_only_what_is_wanted():
    assert set(read_arrays(npz(**ARRAYS), "x", {"row", "other"})) == {"row"}


def test_the_second_version_of_the_format():
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n"
    data = npy(header=header, data=np.float64(2.0).tobytes(), version=(2, 0))
    assert read_arrays(zipped(("a.npy", data)), "x", ALL)["a"] == [2.0]


GOOD = "{'descr': '<f8', 'fortran_order': False, 'shape': (%s), }\n"
REFUSED = {
    "objects": ("a.npy", npy(np.array([None, {}], dtype=object))),
    "objects in a structure": ("a.npy", npy(np.zeros(2, dtype=[("a", "O")]))),
    "a structure": ("a.npy", npy(np.zeros(2, dtype=[("a", "f8")]))),
    "a huge shape": ("a.npy", npy(header=GOOD % "1000000000000,", data=bytes(8))),
    "a huger shape": ("a.npy", npy(header=GOOD % ("9" * 70 + ","), data=bytes(8))),
    "a shape of too little": ("a.npy", npy(header=GOOD % "1,", data=bytes(80))),
    "a large array": ("a.npy", npy(np.zeros(200_000))),
    "an archive": ("inner.npz", npz(a=np.zeros(2))),
    "a pickle": ("a.pkl", b"N."),
    "a path": ("../a.npy", npy(np.zeros(2))),
    "an absolute path": ("/a.npy", npy(np.zeros(2))),
    "a folder": ("a/", b""),
    "a long name": ("a" * 5000 + ".npy", npy(np.zeros(2))),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_whether_it_is_wanted_or_not(what):
    name, data = REFUSED[what]
    file = zipped(("ts.npy", npy(np.zeros(2))), (name, data))
    for wanted in (ALL, {"ts"}, {}):
        with pytest.raises(RequestError, match="refused: ") as caught:
            read_arrays(file, "metrics/curve.npz", wanted)
        assert caught.value.where.startswith("metrics/curve.npz/")
        assert len(caught.value.where) < 200


def test_more_entries_than_results_have():
    file = zipped(*((f"a{i}.npy", b"") for i in range(300)))
    with pytest.raises(RequestError, match="300 arrays in one file"):
        read_arrays(file, "x", {})


def test_an_array_that_occurs_twice():
    with pytest.warns(UserWarning, match="Duplicate name"):
        file = zipped(("a.npy", npy(np.zeros(1))), ("a.npy", npy(np.ones(1))))
    with pytest.raises(RequestError, match="occurs twice"):
        read_arrays(file, "x", ALL)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_packing(method):
    with pytest.raises(RequestError, match="packed in an unusual way"):
        read_arrays(zipped(("a.npy", npy(np.zeros(2))), method=method), "x", ALL)


def test_a_bomb_that_lies_about_its_size():
    bomb = npy(np.zeros(2**20))
    file = bytearray(zipped(("a.npy", bomb)))
    for place in (22, file.index(b"PK\x01\x02") + 24):
        file[place : place + 4] = (300).to_bytes(4, "little")
    with pytest.raises((DamagedError, RequestError)):
        read_arrays(bytes(file), "x", ALL)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        zipped(("a.npy", b"")),
        zipped(("a.npy", b"\x93NUMPY\x09\x00")),
        zipped(("a.npy", npy(header="{'descr': '<f3', 'fortran_order': False, 'shape': (), }"))),
        zipped(("a.npy", npy(header="{'descr': '<f8', 'shape': __import__('os')}"))),
        zipped(("a.npy", npy(header="(" * 900))),
        zipped(("a.npy", npy(np.zeros(2, dtype="M8[s]")))),
        zipped(("a.npy", npy(np.array(["a"])))),
    ],
)
def test_what_is_no_array_is_damaged(data):
    with pytest.raises(DamagedError):
        read_arrays(data, "x", ALL)


def test_a_file_cut_off_anywhere_is_damaged():
    data = npz(ts=np.zeros(3), tr_err=np.ones(3))
    for size in range(0, len(data), 3):
        with pytest.raises(DamagedError):
            read_arrays(data[:size], "x", ALL)


def test_changed_bytes_give_arrays_or_one_of_two_errors():
    draw = random.Random(0)
    whole = [npz(ts=np.zeros(3), tr_err=np.ones(3)), zipped(("ts.npy", npy(np.arange(9.0))))]
    failed = 0
    for _ in range(1500):
        data = bytearray(draw.choice(whole))
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            read_arrays(bytes(data), "x", ALL)
        except (DamagedError, RequestError):
            failed += 1
    assert failed > 500
