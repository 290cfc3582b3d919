"""Pickles of plain numbers, read by a machine that can build nothing else.

Python's own unpickler can be told which names to refuse, but not to be careful: a pickle
without a single name can still fill the memory (an index of the memo, a stated length), overrun
the stack (tuples in tuples as the key of a mapping) or change NumPy's own types (the state of a
dtype). So the few instructions that results consist of are carried out here, on values of ours.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

from llt_core.analysis.untrusted.archive import refuse, shown
from llt_core.analysis.untrusted.damage import DamagedError

MAX_STEPS = 20_000
"""Instructions in a pickle; the results of five models take a few hundred."""
_SCALAR = "scalar"
_DTYPE = "dtype"
_NAMES = {
    ("numpy", "dtype"): _DTYPE,
    ("numpy.core.multiarray", "scalar"): _SCALAR,
    ("numpy._core.multiarray", "scalar"): _SCALAR,
}
_CODES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"f2", "f4", "f8", "b1"}
_ORDERS = ("<", ">", "|", "=")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = frozenset({
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINBYTES", "SHORT_BINBYTES",
})  # fmt: skip
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
_WORDS = {
    "PERSID": "a persistent id",
    "BINPERSID": "a persistent id",
    "EXT1": "a registered extension",
    "EXT2": "a registered extension",
    "EXT4": "a registered extension",
    "NEWOBJ": "an object",
    "NEWOBJ_EX": "an object",
    "OBJ": "an object",
}


def read_pickle(data: bytes, name: str) -> Any:
    """Return what a pickle holds: mappings, lists, numbers and texts.

    NumPy's scalars become Python's numbers. The keys of mappings are integers or texts.

    Parameters
    ----------
    data
        The pickle, of any binary protocol.
    name
        What to call it in an error.

    Raises
    ------
    DamagedError
        It is cut off, or makes no sense.
    RequestError
        It asks for anything else than ``numpy.dtype`` and ``numpy…multiarray.scalar``.

    Examples
    --------
    >>> import pickle
    >>> read_pickle(pickle.dumps({0: {"trace": np.float64(1.5)}}), "example")
    {0: {'trace': 1.5}}
    """
    machine = _Machine(name)
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if step >= MAX_STEPS:
                refuse(f"a pickle of more than {MAX_STEPS:,} instructions", name)
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise DamagedError(f"is no whole pickle: {shown(str(error))}") from error
    raise DamagedError("is no whole pickle")


class _Mark:
    """Where a collection began."""


class _Name:
    """One of the two names a pickle may ask for; stands for it, and is never called."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Dtype:
    """A type of NumPy's numbers, as the pickle describes it."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "<"


class _Machine:
    """A stack and a memo, and the few instructions that work on them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        """Take the top value."""
        value = self._stack.pop()
        if isinstance(value, _Mark):
            raise DamagedError("a collection is missing")
        return value

    def step(self, opcode: str, argument: Any) -> None:
        """Carry out one instruction."""
        if opcode in ("PROTO", "FRAME"):
            return
        if opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode])
        elif opcode in _VALUES:
            self._stack.append(argument)
        elif opcode in _EMPTY:
            self._stack.append(_EMPTY[opcode]())
        elif (method := getattr(self, f"_do_{opcode.lower()}", None)) is not None:
            method(argument)
        else:
            self._refuse(_WORDS.get(opcode, f"the instruction {opcode}"))

    def _refuse(self, what: str) -> None:
        refuse(f"the pickle asks for {what}, results are plain numbers", self._name)

    # Collections

    def _marked(self) -> list[Any]:
        values: list[Any] = []
        while not isinstance(value := self._stack.pop(), _Mark):
            values.append(value)
        return values[::-1]

    def _do_mark(self, _: Any) -> None:
        self._stack.append(_Mark())

    def _tuple(self, size: int) -> None:
        values = [self.pop() for _ in range(size)]
        self._stack.append(tuple(values[::-1]))

    def _do_tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._marked()))

    def _do_tuple1(self, _: Any) -> None:
        self._tuple(1)

    def _do_tuple2(self, _: Any) -> None:
        self._tuple(2)

    def _do_tuple3(self, _: Any) -> None:
        self._tuple(3)

    def _do_append(self, _: Any) -> None:
        value = self.pop()
        self._top(list).append(value)

    def _do_appends(self, _: Any) -> None:
        values = self._marked()
        self._top(list).extend(values)

    def _do_setitem(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self._set([key, value])

    def _do_setitems(self, _: Any) -> None:
        self._set(self._marked())

    def _set(self, pairs: list[Any]) -> None:
        mapping = self._top(dict)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if type(key) not in (int, str):
                raise DamagedError("a key is neither a number nor a text")
            mapping[key] = value

    def _top(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise DamagedError(f"a {kind.__name__} is missing")
        return self._stack[-1]

    # The memo

    def _do_memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _do_binput(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    _do_long_binput = _do_binput

    def _do_binget(self, place: int) -> None:
        self._stack.append(self._memo[place])

    _do_long_binget = _do_binget

    # NumPy's scalars

    def _do_global(self, names: str) -> None:
        module, _, name = names.partition(" ")
        self._ask(module, name)

    _do_inst = _do_global

    def _do_stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        self._ask(module, name)

    def _ask(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise DamagedError("a name is missing")
        known = _NAMES.get((module, name))
        if known is None:
            self._refuse(shown(f"{module}.{name}"))
        else:
            self._stack.append(_Name(known))

    def _do_reduce(self, _: Any) -> None:
        arguments, name = self.pop(), self.pop()
        if not (isinstance(name, _Name) and isinstance(arguments, tuple)):
            self._refuse("a call of what is no function")
        elif name.name == _DTYPE:
            self._stack.append(self._dtype(*arguments))
        else:
            self._stack.append(self._scalar(*arguments))

    def _do_build(self, _: Any) -> None:
        state = self.pop()
        dtype = self._top(_Dtype)
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if type(order) is not str or order not in _ORDERS:
            raise DamagedError("the state of a dtype is unknown")
        dtype.order = order

    def _dtype(self, code: Any, *flags: Any) -> _Dtype:
        # Only of a text is it known how long its hash takes: see the module.
        if type(code) is not str or code not in _CODES:
            self._refuse(f"the dtype {shown(code) if type(code) is str else '?'}")
        return _Dtype(code)

    def _scalar(self, dtype: Any, data: Any) -> Any:
        if not (isinstance(dtype, _Dtype) and isinstance(data, bytes)):
            raise DamagedError("a scalar has no type or no bytes")
        (number,) = np.frombuffer(data, dtype=dtype.order + dtype.code)
        return number.item()
