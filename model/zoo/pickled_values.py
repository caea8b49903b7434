"""Values out of a pickle, read without running it.

A pickle is a program for a small stack machine, and two of its instructions call whatever the
file names. The reader here follows the program, but never looks up a name: the makers of tensors
are written out below, and whatever else a file names becomes an inert `Blank`.
"""

from __future__ import annotations

import io
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import IO, Any

import torch

MAX_DUMPED_BYTES = 100_000_000  # of pickle.dump, whose numbers are copied more than once
MAX_INSTRUCTIONS = 300_000  # a ViT-L with its optimiser has 40,000
FROM_BYTES = "torch.storage._load_from_bytes"
"""Whom pickle.dump asks for the numbers of a tensor."""
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""What the first of the five pickles says that torch wrote before version 1.6."""
LONGEST_NAME = 300  # characters, of a class or of a tensor
MOST_DIMENSIONS = 16

DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class ForeignProgram(ValueError):
    """A pickle that would call a function; `name` says which."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Named:
    """A class or function that a pickle names, by "module.name". It is not looked up."""

    name: str


@dataclass(eq=False)
class Blank:
    """An object of a class that is no tensor's: of what it is, and what it was given by key."""

    of: str
    items: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Storage:
    """Numbers that lie elsewhere in the file, or in the pickle itself."""

    key: str
    dtype: torch.dtype
    numbers: int
    start: int = 0  # the first number, where this is a view of a larger storage
    inside: bytes | None = None  # the numbers, where they lie in the pickle itself


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a pickle describes it: which numbers of which storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def last_number(self) -> int:
        """Return the index of the last number in the storage, -1 for none. Raises ValueError."""
        whole = (self.offset, *self.shape, *self.stride)
        if len(self.shape) != len(self.stride):
            raise ValueError("shape and stride differ")
        if not all(type(n) is int and 0 <= n < 2**48 for n in whole):
            raise ValueError("no sizes")
        if 0 in self.shape:
            return -1
        steps = zip(self.shape, self.stride, strict=True)
        return self.offset + sum((n - 1) * step for n, step in steps)


class Budget:
    """How many instructions may still be read from a file, whose pickles share them."""

    def __init__(self, instructions: int | None = None) -> None:
        self.left = MAX_INSTRUCTIONS if instructions is None else instructions
        self.inside = 0  # tensors whose numbers lie in the pickle itself
        self.bytes_left = MAX_DUMPED_BYTES  # of those numbers, which are copied


def read_pickle(file: IO[bytes], budget: Budget, nested: bool = False) -> Any:
    """Read one pickle: plain values, `StoredTensor` for tensors, `Blank` for the rest.

    Args:
        file: Where the pickle begins; afterwards, where it has ended.
        budget: How many instructions may be read.
        nested: Whether it lies in another pickle, and so may not hold a third.

    Raises:
        ForeignProgram: It would call a function that is no maker of tensors.
        Exception: Of nearly any kind, where it is damaged.
    """
    machine = _Machine(budget, nested)
    for opcode, argument, _ in pickletools.genops(file):
        budget.left -= 1
        if budget.left < 0:
            raise ValueError("more instructions than any model's file has")
        step = _STEPS.get(opcode.name)
        if step is None:
            raise ValueError(f"an instruction that no file of weights has: {opcode.name}")
        step(machine, argument)
    return machine.stack[-1]


def _read_inside(arguments: tuple[Any, ...], budget: Budget) -> Storage:
    """Read the numbers of one tensor as pickle.dump writes them: a file of torch in the pickle.

    Raises as `read_pickle` does.
    """
    (data,) = arguments
    if not isinstance(data, bytes):
        raise TypeError("no bytes")
    budget.bytes_left -= len(data)
    if budget.bytes_left < 0:
        raise ValueError("more numbers than the file has")
    file = io.BytesIO(data)
    magic, _, _, storage, keys = (read_pickle(file, budget, nested=True) for _ in range(5))
    if magic != LEGACY_MAGIC or not isinstance(storage, Storage) or keys != [storage.key]:
        raise TypeError("no storage")
    begin = file.tell() + 8
    length = int.from_bytes(file.read(8), "little") * storage.dtype.itemsize
    if begin + length != len(data):
        raise ValueError("it stops before its end")
    budget.inside += 1
    return replace(storage, key=f"inside {budget.inside}", inside=data[begin:])


# What a name stands for


def _is_key(value: Any) -> bool:
    """Say whether a value may be a key; others could take hours to compare, or end Python."""
    small = isinstance(value, int) and value.bit_length() < 64
    return small or value is None or isinstance(value, str | bytes | float)


# Modules that act on the machine. Whoever lays one of their names into a file means harm.
_ACTING = re.compile(
    r"(os|posix|nt|subprocess|sys|shutil|socket|importlib|runpy|_?ctypes|pty|code|codeop|commands"
    r"|webbrowser|_?pickle|shelve|marshal|imp|pkgutil|multiprocessing|_?threading|_thread|signal"
    r"|asyncio|_?io|http|urllib|requests|smtplib|ftplib|bdb|pdb|c?[pP]rofile|timeit|trace|doctest"
    r"|distutils|setuptools|pip|venv|platform|tempfile|zipfile|tarfile|linecache|inspect"
    r"|_?operator|builtins|__builtin__|types|functools|tkinter|idlelib|ensurepip|pydoc)(\.|$)"
)
# Of those, and of functions, what only holds values.
_HARMLESS = re.compile(
    r"(builtins|__builtin__)\.(set|frozenset|list|dict|tuple|int|float|complex|str|bytes|bytearray"
    r"|bool|object|slice|x?range|[A-Z]\w*(Error|Warning)|Exception|Ellipsis|NotImplemented)"
    r"|functools\.partial|types\.SimpleNamespace|_codecs\.encode"
    r"|collections\.(defaultdict|deque)|copy_?reg\._reconstructor"
    r"|datetime\.(datetime|date|time|timedelta|timezone)|signal\.[A-Z]\w*"
    r"|numpy(\.\w+)*\.(scalar|_reconstruct|dtype|ndarray|_frombuffer|__\w+)"
    r"|torch\.(device|dtype)|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_\w+"
    r"|torch\.(serialization|storage)\._get_layout"
    r"|re\._compile|numpy\.ma\.core\._mareconstruct"
    r"|pandas(\.\w+)+\.(_unpickle_\w+|_new_\w*Index|__pyx_unpickle_\w+)|pyarrow\.lib\.\w+"
)


def _look_at(name: str) -> Named:
    """Note a name. Raises ForeignProgram for one of a module that acts on the machine."""
    if _ACTING.match(name) and not _HARMLESS.fullmatch(name):
        raise ForeignProgram(name)
    return Named(name)


def _call(callee: Any, arguments: tuple[Any, ...]) -> Any:
    """Make what a pickle asks for, as far as it is a tensor or a collection; else a `Blank`."""
    if not isinstance(callee, Named):
        raise TypeError("no name, but a value is called")
    if maker := _MAKERS.get(callee.name):
        return maker(*arguments)
    last = callee.name.rpartition(".")[2].lstrip("_")
    if _HARMLESS.fullmatch(callee.name) or last[:1].isupper():  # as the names of classes begin
        return Blank(callee.name)
    raise ForeignProgram(callee.name)


def _make_tensor(storage: Any, offset: int, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    if not isinstance(storage, Storage) or type(offset) is not int:
        raise TypeError("a tensor without numbers")
    return StoredTensor(storage, offset, _make_size(shape), _make_size(stride))


def _make_size(sides: Any = ()) -> tuple[Any, ...]:
    if not isinstance(sides, list | tuple) or len(sides) > MOST_DIMENSIONS:
        raise TypeError("no sides of a tensor")
    return tuple(sides)


def _make_dict(pairs: Any = (), *_: Any) -> dict[Any, Any]:
    return {key: value for key, value in pairs if _is_key(key)}


def _first(value: Any, *_: Any) -> Any:
    return value


_MAKERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _make_dict,
    "collections.defaultdict": lambda *_: {},
    "builtins.dict": _make_dict,
    "__builtin__.dict": _make_dict,
    "torch.Size": _make_size,
    "torch._utils._rebuild_tensor": _make_tensor,
    "torch._utils._rebuild_tensor_v2": _make_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.nn.parameter.Parameter": _first,
}


def _stored(record: Any) -> Any:
    """Read the five or six entries by which torch refers to numbers outside the pickle."""
    if not isinstance(record, tuple) or not 2 <= len(record) <= 6:
        raise TypeError("no reference")
    if record[0] == "module":  # older files write a class of a layer so, with its source
        return record[1]
    _, kind, key, _, numbers, *view = record
    if not isinstance(kind, Named) or not isinstance(key, str | int):
        raise TypeError("no storage")
    kind = kind.name.rpartition(".")[2]
    start = view[0][1] if view and view[0] else 0
    if type(numbers) is not int or type(start) is not int or start < 0:
        raise TypeError("no sizes")
    dtype = torch.uint8 if kind == "UntypedStorage" else DTYPES.get(kind)
    if dtype is None:
        return Storage(str(key), torch.complex64, numbers, start)  # which nobody opens
    return Storage(str(key), dtype, numbers, start)


# The stack machine


class _Machine:
    def __init__(self, budget: Budget, nested: bool) -> None:
        self.budget, self.nested = budget, nested
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def since_mark(self) -> list[Any]:
        at = self.marks.pop()
        values = self.stack[at:]
        del self.stack[at:]
        return values

    def take(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("nothing there")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def drop(self, values: list[Any]) -> None:
        """Forget values that were taken from the stack."""

    def fill(self, pairs: list[Any]) -> None:
        """Put keys and values, which follow one another, into the dictionary on the stack."""
        target = self.stack[-1]
        held = target.items if isinstance(target, Blank) else target
        if not isinstance(held, dict):
            raise TypeError("no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if _is_key(key):
                held[key] = value

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Blank):
            raise TypeError("no list")

    def build(self) -> None:
        """Pass over the state of an object: only a `Blank`, a dictionary or a tensor has one."""
        self.stack.pop()
        if not isinstance(self.stack[-1], Blank | dict | StoredTensor):
            raise TypeError("no object")

    def call(self, arguments: Any) -> None:
        callee = self.stack.pop()
        if not isinstance(arguments, tuple):
            raise TypeError("no arguments")
        # What is copied here counts, or a long list copied often would cost hours.
        copied = [len(each) for each in arguments if isinstance(each, list | tuple | dict)]
        self.budget.left -= sum(copied)
        if callee == Named(FROM_BYTES) and not self.nested:
            self.stack.append(_read_inside(arguments, self.budget))
        else:
            self.stack.append(_call(callee, arguments))

    def look_up(self, name: str) -> None:
        module, _, last = name.partition(" ")
        self.name(module, last)

    def name(self, module: str, last: str) -> None:
        if len(module) + len(last) > LONGEST_NAME:
            raise ValueError("a name longer than any class has")
        self.stack.append(_look_at(f"{module}.{last}"))

    def instantiate(self, name: str) -> None:
        arguments = tuple(self.since_mark())
        self.look_up(name)
        self.call(arguments)

    def look_up_on_stack(self) -> None:
        module, last = self.take(2)
        if not (isinstance(module, str) and isinstance(last, str)):
            raise ForeignProgram("a name put together while reading")
        self.name(module, last)

    def call_with_mark(self) -> None:
        callee, *arguments = self.since_mark()
        self.stack.append(callee)
        self.call(tuple(arguments))

    def call_with_keywords(self) -> None:
        self.take(1)
        self.call(self.stack.pop())

    def remember(self, at: int | None) -> None:
        self.memo[len(self.memo) if at is None else at] = self.stack[-1]


def _constant(value: Any) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(value)


def _collection(make: Callable[[list[Any]], Any], count: int | None) -> Callable[..., None]:
    """Join `count` values of the stack, or those since the last mark, into one."""
    if count is None:
        return lambda machine, _: machine.stack.append(make(machine.since_mark()))
    return lambda machine, _: machine.stack.append(make(machine.take(count)))


def _pairs(values: list[Any]) -> dict[Any, Any]:
    return _make_dict(zip(values[::2], values[1::2], strict=True))


def _set(values: list[Any]) -> Blank:
    return Blank("builtins.set")


def _foreign(machine: _Machine, argument: Any) -> None:
    raise ForeignProgram("a name put together while reading")  # torch.save writes none


def _nothing(machine: _Machine, argument: Any) -> None:
    """Pass over a frame, or the protocol."""


def _push(machine: _Machine, argument: Any) -> None:
    machine.stack.append(argument)


_VALUES = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
)

_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(_VALUES, _push),
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _foreign),
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "EMPTY_TUPLE": _constant(()),
    "EMPTY_LIST": _collection(list, 0),
    "EMPTY_DICT": _collection(_pairs, 0),
    "EMPTY_SET": _collection(_set, 0),
    "LIST": _collection(list, None),
    "TUPLE": _collection(tuple, None),
    "TUPLE1": _collection(tuple, 1),
    "TUPLE2": _collection(tuple, 2),
    "TUPLE3": _collection(tuple, 3),
    "DICT": _collection(_pairs, None),
    "FROZENSET": _collection(_set, None),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "POP": lambda machine, _: machine.drop(machine.take(1)),
    "POP_MARK": lambda machine, _: machine.drop(machine.since_mark()),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "GET": lambda machine, at: machine.stack.append(machine.memo[at]),
    "BINGET": lambda machine, at: machine.stack.append(machine.memo[at]),
    "LONG_BINGET": lambda machine, at: machine.stack.append(machine.memo[at]),
    "PUT": _Machine.remember,
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": _Machine.remember,
    "APPEND": lambda machine, _: machine.extend(machine.take(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "ADDITEMS": lambda machine, _: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.fill(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.fill(machine.since_mark()),
    "BUILD": lambda machine, _: machine.build(),
    "GLOBAL": _Machine.look_up,
    "STACK_GLOBAL": lambda machine, _: machine.look_up_on_stack(),
    "INST": _Machine.instantiate,
    "OBJ": lambda machine, _: machine.call_with_mark(),
    "REDUCE": lambda machine, _: machine.call(machine.stack.pop()),
    "NEWOBJ": lambda machine, _: machine.call(machine.stack.pop()),
    "NEWOBJ_EX": lambda machine, _: machine.call_with_keywords(),
    "BINPERSID": lambda machine, _: machine.stack.append(_stored(machine.stack.pop())),
}
