"""Pickles: results are read as Python reads them, everything else is refused or damaged."""

import copyreg
import math
import os
import pickle
import random
import struct
import time
import tracemalloc
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llt_core.analysis.untrusted import DamagedError, read_pickle
from llt_core.errors import RequestError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(0, 9) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)
RESULT = {
    i: {"top_eigenvalue": [0.5 * i], "trace": np.float64(i), "n": [None, True]} for i in (0, 1)
}
SCALAR = b"cnumpy.core.multiarray\nscalar\n"
DTYPE = b"cnumpy\ndtype\n"


class Calls:
    """Pickled as a call: made when it is read by a reader that trusts it."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Held:
    pass


@settings(max_examples=150, deadline=None)
@given(PLAIN, st.integers(2, pickle.HIGHEST_PROTOCOL))
def test_plain_values_are_read_as_python_reads_them(value, protocol):
    assert repr(read_pickle(pickle.dumps(value, protocol), "x")) == repr(value)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("code", ["f2", "f4", "f8", ">f4", ">f8", "i1", "i4", ">i8", "u2", "b1"])
def test_numpy_scalars_become_numbers(code, protocol):
    for number in (0, 1, 101):
        array = np.array([number]).astype(code)
        data = pickle.dumps({"a": [array[0], array[0]]}, protocol)
        assert read_pickle(data, "x") == {"a": [array[0].item()] * 2}
    if "f" in code:
        data = pickle.dumps(np.array([np.nan]).astype(code)[0], protocol)
        assert math.isnan(read_pickle(data, "x"))


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_both_spellings_of_a_scalar(module):
    data = b"\x80\x03c" + module + b"\nscalar\n" + DTYPE
    data += b"X\x02\x00\x00\x00f8\x89\x88\x87R(K\x03X\x01\x00\x00\x00>NtbC\x08"
    data += struct.pack(">d", 2.5) + b"\x86R."
    assert read_pickle(data, "x") == 2.5


def test_what_an_instruction_means_when_values_are_shared():
    shared = [1.0]
    read = read_pickle(pickle.dumps([shared, shared]), "x")
    assert read[0] is read[1]


FOREIGN = {
    "a call": Calls(os.system, "true"),
    "eval": Calls(eval, "1"),
    "an attribute": Calls(getattr, 1, "real"),
    "the class of dtypes": Calls(np.dtype, ("f8", 8)),
    "an object of ours": Held(),
    "a standard class": OrderedDict(a=1),
    "a number": Fraction(1, 2),
    "a complex number": np.complex128(1j),
    "an array": np.arange(3.0),
    "objects in an array": np.array([None]),
    "a dtype of parts": np.dtype([("a", "f8")]),
    "a NumPy function": np.load,
    "a set": {1},
    "a byte array": bytearray(b"a"),
}


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_whatever_else_is_refused_by_its_name(what, protocol):
    for document in (FOREIGN[what], {0: {"trace": [1.0, FOREIGN[what]]}}):
        with pytest.raises(RequestError, match="refused: the pickle asks for") as caught:
            read_pickle(pickle.dumps(document, protocol), "a/hessian.pkl")
        assert caught.value.where == "a/hessian.pkl"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
        (b"(S'true'\nios\nsystem\n.", "STRING"),
        (b"(ios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\no.", "os.system"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0adtype.type\x93.", "numpy.dtype.type"),
        (b"cnumpy\ndtype\n.cos\nsystem\n.", ""),
        (b"cnumpy.core.multiarray\n_reconstruct\n.", "_reconstruct"),
        (b"c__builtin__\neval\n.", "__builtin__.eval"),
        (b"cnumpy\n\x1b[31mdtype\n.", r"\\x1b"),
        (b"Psomething\n.", "a persistent id"),
        (b"K\x01Q.", "a persistent id"),
        (b"\x82\x01.", "a registered extension"),
        (b"\x83\x01\x00.", "a registered extension"),
        (b"\x84\x01\x00\x00\x00.", "a registered extension"),
        (b"\x80\x02cnumpy\ndtype\n)\x81.", "an object"),
        (b"K\x01K\x02R.", "no function"),
        (DTYPE + b"X\x01\x00\x00\x00O\x89\x88\x87R.", "the dtype O"),
        (DTYPE + b"X\x02\x00\x00\x00V8\x89\x88\x87R.", "the dtype V8"),
        (b"\x96" + struct.pack("<Q", 2**62) + b".", None),
        (b"\x8e" + struct.pack("<Q", 2**62) + b".", None),
        (b"\x8b" + struct.pack("<i", 2**31 - 1) + b".", None),
    ],
)
def test_instructions_by_hand(data, what):
    if what == "":  # nothing behind the end is looked at
        assert not isinstance(read_pickle(data, "x"), type)
    elif what is None:  # cut off, and no memory was taken for what it states
        with pytest.raises(DamagedError):
            read_pickle(data, "x")
    else:
        with pytest.raises(RequestError, match=what):
            read_pickle(data, "x")


def test_a_registered_extension_is_refused_though_it_is_known_here():
    copyreg.add_extension(__name__, "Held", 0xF0)
    try:
        with pytest.raises(RequestError, match="a registered extension"):
            read_pickle(b"\x82\xf0.", "x")
    finally:
        copyreg.remove_extension(__name__, "Held", 0xF0)


def test_nothing_is_called(tmp_path):
    canary = tmp_path / "canary"
    document = {0: Calls(Path.touch, canary), 1: Calls(os.mkdir, str(canary))}
    with pytest.raises(RequestError):
        read_pickle(pickle.dumps(document), "x")
    assert not canary.exists()
    pickle.loads(pickle.dumps(document[0]))  # a reader that trusts it does as it is told
    assert canary.exists()


def test_types_of_numpy_stay_what_they_are():
    # dtype('f8', False, False) is NumPy's own object, and its state the byte order.
    data = DTYPE + b"X\x02\x00\x00\x00f8\x89\x89\x87R(K\x03X\x01\x00\x00\x00>NNNJ\xff\xff\xff\xff"
    data += b"J\xff\xff\xff\xffK\x00tb."
    read_pickle(data, "x")
    assert np.dtype("f8").byteorder == "="
    assert np.array([1.0]).tobytes() == struct.pack("=d", 1.0)


@pytest.mark.parametrize(
    "data",
    [
        SCALAR + DTYPE + b"X\x02\x00\x00\x00f8\x89\x88\x87RC\x07abcdefg\x86R.",
        SCALAR + DTYPE + b"X\x02\x00\x00\x00f8\x89\x88\x87RC\x10" + bytes(16) + b"\x86R.",
        SCALAR + b"NN\x86R.",
        SCALAR + b")R.",
        DTYPE + b")R.",
        DTYPE + b"X\x02\x00\x00\x00f8\x85R(K\x03X\x01\x00\x00\x00?tb.",
        b"b.",
        b"NNb.",
        b"N}b.",
        b"}(K\x01u.",
        b"}K\x01K\x02K\x03s.",
        b"}N\x85K\x01s.",
        b"}G?\xf0\x00\x00\x00\x00\x00\x00K\x01s.",
        b"h\x05.",
        b"(.",
        b".",
        b"\x93.",
        b"K\x01K\x02\x93.",
        b"",
        b"PK\x03\x04",
        b"width,batch\n",
    ],
)
def test_what_makes_no_sense_is_damaged(data):
    with pytest.raises((DamagedError, RequestError)):
        read_pickle(data, "x")


def quick(data, expected):
    """Read something that a careless reader takes minutes, gigabytes or its life for."""
    started = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(expected):
            read_pickle(data, "x")
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < 5


def test_bombs_do_not_go_off():
    deep = b"N" + b"\x85" * 19_000
    quick(b"}" + deep + b"K\x01s.", DamagedError)  # hashing it overruns the stack
    quick(DTYPE + deep + b"\x85R.", RequestError)
    wide = b"Nq\x00" + b"h\x00h\x00\x86q\x00" * 60
    quick(b"}" + wide + b"K\x01s.", DamagedError)  # hashing it takes 2**60 steps
    quick(DTYPE + wide + b"\x85R.", RequestError)
    quick(b"N" + b"N" * 20_000 + b".", RequestError)
    quick(b"r".join([b"N", struct.pack("<I", 2**32 - 1) + b"0."]), RequestError)


def test_an_index_of_the_memo_takes_no_memory():
    data = b"K\x07r" + struct.pack("<I", 2**31 - 1) + b"."
    tracemalloc.start()
    try:
        assert read_pickle(data, "x") == 7
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("protocol", [3, 5])
def test_a_pickle_cut_off_anywhere_is_damaged(protocol):
    data = pickle.dumps(RESULT, protocol)
    for size in range(len(data)):
        with pytest.raises(DamagedError):
            read_pickle(data[:size], "x")


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_changed_bytes_give_a_value_or_one_of_two_errors():
    draw = random.Random(0)
    whole = [pickle.dumps(RESULT, protocol) for protocol in (3, 5)]
    refused = 0
    for _ in range(3000):
        data = bytearray(draw.choice(whole))
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            read_pickle(bytes(data), "x")
        except (DamagedError, RequestError):
            refused += 1
    assert refused > 500
