"""Rings through every container type: dead ones go without gc.collect(), live ones stay intact.

A case makes one object that holds a probe; the probe holds the object, which closes the ring. Many
dead and live twins grow old together, then one concurrent collection has to tell them apart.
"""

import abc
import array
import ast
import asyncio
import collections
import contextlib
import contextvars
import csv
import ctypes
import dataclasses
import enum
import functools
import gc
import inspect
import io
import itertools
import json
import operator
import pickle
import queue
import sqlite3
import sys
import threading
import time
import types
import typing
import unittest
import weakref
import xml.etree.ElementTree
from xml.parsers import expat

from zgctest import ACTIVE, age, collect, main, requires_active, zgc

TWINS = 60


class Probe:
    """Closes the ring and says who it is."""

    def __init__(self, tag):
        self.tag = tag

    def method(self, *args):
        return self

    def __call__(self, *args, **kwargs):
        return self


class FinalizedProbe(Probe):
    finalized = []

    def __del__(self):
        self.finalized.append(self.tag)


CASES = {}


def case(peek, name=None):
    """Decorator: make(probe) -> object; peek(object) -> that probe."""
    def add(make):
        CASES[name or make.__name__.strip("_")] = make, peek
        return make
    return add


def cases(peek, **makes):
    for name, make in makes.items():
        case(peek, name)(make)


first = operator.itemgetter(0)
key = operator.itemgetter("k")
attribute = operator.attrgetter("p")


def only(iterable):
    (x,) = iterable
    return x


def with_attribute(x, p):
    x.p = p
    return x


# ---- built-in containers -------------------------------------------------------------------------

cases(first,
      list=lambda p: [p],
      list_large=lambda p: [p] + [None] * 3000,
      list_of_list=lambda p: [p, [[p]]],
      tuple=lambda p: (p,),
      tuple_long=lambda p: (p,) * 50)
cases(key,
      dict=lambda p: {"k": p},
      dict_general_keys=lambda p: {1: 1, "k": p, (2,): 3},
      dict_large=lambda p: {**dict.fromkeys(map(str, range(500))), "k": p},
      dict_fromkeys=lambda p: dict.fromkeys(["k", "j"], p))
cases(only, set=lambda p: {p}, frozenset=lambda p: frozenset([p]), dict_key=lambda p: {p: 1})


@case(key)
def dict_after_deletes(p):
    d = {str(i): i for i in range(100)}
    d["k"] = p
    for i in range(100):
        del d[str(i)]
    return d


@case(lambda s: next(x for x in s if type(x) is not int))
def set_large(p):
    return {*range(200), p}


@case(lambda x: x[0][0][0][0])
def nested_tuples(p):
    return ((((p,),),),)


# ---- instances ---------------------------------------------------------------------------------

class Plain:
    pass


class Deep4(type("Deep3", (type("Deep2", (type("Deep1", (Plain,), {}),), {}),), {})):
    pass


class Slots:
    __slots__ = ("a", "p", "z")


class SlotsWeak:
    __slots__ = ("p", "__weakref__")


class SlotsDeep(type("SlotsMid", (Slots,), {"__slots__": ("q", "r")})):
    __slots__ = ("s",)


class SlotsAndDict(Slots):
    pass


class DictBelowSlots(Plain):
    __slots__ = ("extra",)


class Mixed(Plain, abc.ABC):
    pass


class Generic(typing.Generic[typing.TypeVar("T")]):
    pass


class WithMeta(metaclass=type("Meta", (type,), {})):
    pass


@dataclasses.dataclass
class Data:
    p: object


@dataclasses.dataclass(slots=True)
class DataSlots:
    p: object


Pair = collections.namedtuple("Pair", "p q")


class TypedPair(typing.NamedTuple):
    p: object


for cls in (Plain, Deep4, Slots, SlotsWeak, SlotsDeep, SlotsAndDict, DictBelowSlots, Mixed,
            Generic, WithMeta):
    cases(attribute, **{f"instance_{cls.__name__}": lambda p, cls=cls: with_attribute(cls(), p)})
cases(attribute,
      dataclass=Data, dataclass_slots=DataSlots, namedtuple=lambda p: Pair(p, 0),
      typed_namedtuple=TypedPair,
      namespace=lambda p: types.SimpleNamespace(p=p),
      module=lambda p: with_attribute(types.ModuleType("m"), p))


@case(lambda o: o.s)
def slots_deep_own_slot(p):
    o = SlotsDeep()
    o.s = p
    return o


@case(lambda o: o.extra)
def slot_below_dict(p):
    o = DictBelowSlots()
    o.extra = p
    return o


@case(attribute)
def instance_many_attributes(p):
    o = Plain()
    for i in range(60):
        setattr(o, f"a{i}", i)
    o.p = p
    return o


@case(attribute)
def instance_own_attribute_order(p):
    o = Plain()
    setattr(o, f"x{p.tag}", 1)      # no two instances share their keys
    o.p = p
    return o


@case(attribute)
def instance_dict_looked_at(p):
    o = Plain()
    o.p = p
    o.__dict__
    return o


@case(attribute)
def instance_dict_replaced(p):
    o = Plain()
    o.q = 1
    o.__dict__ = {"p": p}
    return o


@case(attribute)
def instance_dict_deleted_and_back(p):
    o = Plain()
    o.q = 1
    del o.__dict__
    o.p = p
    return o


@case(attribute)
def instance_class_changed(p):
    o = Plain()
    o.p = p
    o.__class__ = type("Other", (Plain,), {})
    return o


# ---- subclasses of built-in types: contents, and an attribute ------------------------------------

def subclass(base):
    return type(f"My{base.__name__}", (base,), {})


MyList, MyTuple, MyDict, MySet, MyFrozen, MyDeque, MyOrdered, MyDefault, MyStr, MyInt, MyFloat, \
    MyBytes, MyBytearray = map(subclass, (
        list, tuple, dict, set, frozenset, collections.deque, collections.OrderedDict,
        collections.defaultdict, str, int, float, bytes, bytearray))
Slotted = type("SlottedList", (list,), {"__slots__": ("p",)})

cases(first, list_subclass=lambda p: MyList([p]), tuple_subclass=lambda p: MyTuple([p]),
      deque_subclass=lambda p: MyDeque([p]), list_subclass_deep=lambda p: subclass(MyList)([p]))
cases(key, dict_subclass=lambda p: MyDict(k=p), ordered_subclass=lambda p: MyOrdered(k=p),
      defaultdict_subclass=lambda p: MyDefault(None, k=p))
cases(only, set_subclass=lambda p: MySet([p]), frozenset_subclass=lambda p: MyFrozen([p]))
for cls in (MyList, MyTuple, MyDict, MySet, MyFrozen, MyDeque, MyOrdered, MyDefault, MyStr, MyInt,
            MyFloat, MyBytes, MyBytearray, Slotted):
    cases(attribute, **{f"{cls.__name__}_attribute": lambda p, cls=cls: with_attribute(cls(), p)})

# ---- collections -------------------------------------------------------------------------------

cases(first,
      deque=lambda p: collections.deque([p]),
      deque_blocks=lambda p: collections.deque([p] + [0] * 500),
      deque_maxlen=lambda p: collections.deque([0, 0, p], maxlen=1),
      userlist=lambda p: collections.UserList([p]))
cases(key,
      ordered=lambda p: collections.OrderedDict(a=1, k=p),
      defaultdict=lambda p: collections.defaultdict(list, k=p),
      counter=lambda p: collections.Counter(k=p),
      chainmap=lambda p: collections.ChainMap({}, {"k": p}),
      userdict=lambda p: collections.UserDict(k=p),
      mappingproxy=lambda p: types.MappingProxyType({"k": p}))
cases(lambda d: d.default_factory.__self__,
      defaultdict_factory=lambda p: collections.defaultdict(p.method))


@case(lambda d: d["k"])
def ordered_after_deletes(p):
    d = collections.OrderedDict((str(i), i) for i in range(50))
    d["k"] = p
    for i in range(0, 50, 2):
        del d[str(i)]
    d.move_to_end("k", last=False)
    return d


@case(lambda d: d[40])
def deque_rotated(p):
    d = collections.deque(range(100))
    d[90] = p
    d.rotate(50)
    return d


ANCHOR = Plain()


@case(lambda d: d[ANCHOR])
def weak_key_dictionary(p):
    d = weakref.WeakKeyDictionary()
    d[ANCHOR] = p
    return d


# ---- functions and what they make --------------------------------------------------------------

cases(lambda c: c.cell_contents, cell=types.CellType)
cases(lambda f: f(), closure=lambda p: lambda: p, partial_call=lambda p: functools.partial(p))
cases(lambda f: f.__defaults__[0], defaults=lambda p: lambda x=p: x)
cases(lambda f: f.__kwdefaults__["x"], kwdefaults=lambda p: lambda *, x=p: x)
cases(attribute, function_attribute=lambda p: with_attribute(lambda: 0, p))
cases(lambda m: m.__self__, bound_method=lambda p: p.method,
      method_wrapper=lambda p: p.__str__)
cases(lambda m: m.__self__[0], builtin_method=lambda p: [p].append)
cases(lambda x: x.fget, property=property)
cases(lambda x: x.__func__, staticmethod=staticmethod, classmethod=classmethod)
cases(lambda x: x.args[0], partial=lambda p: functools.partial(print, p))
cases(lambda x: x.keywords["k"], partial_keywords=lambda p: functools.partial(print, k=p))
cases(lambda x: x.__origin__, alias_origin=lambda p: types.GenericAlias(p, ()))
cases(lambda x: x.__args__[0], alias_argument=lambda p: types.GenericAlias(list, (p,)))
cases(lambda x: x.__wrapped__, lru_cache=lambda p: functools.lru_cache(p))
cases(lambda x: x.obj, cmp_to_key=lambda p: functools.cmp_to_key(print)(p))
cases(lambda x: x.start, slice=lambda p: slice(p, None))
cases(lambda x: x.__self__, super=lambda p: super(Probe, p))
cases(lambda f: f.__globals__["p"], function_globals=lambda p: eval("lambda: 0", {"p": p}))


@case(lambda f: f.__annotations__["x"])
def annotations(p):
    def f(x: p):
        pass
    return f


@case(lambda f: f(0))
def lru_cache_filled(p):
    @functools.lru_cache(maxsize=10)
    def f(i):
        return box[0]
    box = [p]
    f(0)
    box.clear()
    return f


@case(lambda x: x.gi_frame.f_locals["p"])
def generator(p):
    def g():
        yield p
        yield 2
    run = g()
    next(run)
    return run


@case(lambda x: x.gi_frame.f_locals["p"])
def generator_not_started(p):
    def g(p):
        yield p
    return g(p)


@case(lambda x: x.gi_yieldfrom.gi_frame.f_locals["p"])
def generator_delegating(p):
    def outer():
        yield from generator(p)
    run = outer()
    next(run)
    return run


@case(lambda x: next(x))
def generator_expression(p):
    return (p for p in [p] * 1000)


@case(lambda x: x.cr_frame.f_locals["p"])
def coroutine(p):
    @types.coroutine
    def wait():
        yield

    async def c(p):
        await wait()
    run = c(p)
    run.send(None)
    return run


@case(lambda x: x.ag_frame.f_locals["p"])
def async_generator(p):
    async def g(p):
        yield p
    run = g(p)
    with contextlib.suppress(StopIteration):
        run.__anext__().send(None)
    return run


@case(lambda x: x.f_locals["p"])
def frame(p):
    return inspect.currentframe()


@case(lambda x: x.tb_frame.f_locals["p"])
def traceback(p):
    try:
        raise ValueError
    except ValueError as e:
        return e.__traceback__


# ---- exceptions --------------------------------------------------------------------------------

cases(lambda e: e.args[0], exception=ValueError)
cases(lambda e: e.value, stop_iteration=StopIteration)
cases(lambda e: e.obj, attribute_error=lambda p: AttributeError("x", name="n", obj=p))
cases(lambda e: e.name, import_error=lambda p: ImportError("x", name=p),
      name_error=lambda p: NameError("x", name=p))
cases(lambda e: e.filename, os_error=lambda p: OSError(1, "x", p))
cases(attribute, exception_attribute=lambda p: with_attribute(KeyError(), p))


@case(lambda e: e.exceptions[0].args[0])
def exception_group(p):
    return ExceptionGroup("x", [ValueError(p)])


@case(lambda e: e.__cause__.args[0])
def exception_cause(p):
    e = ValueError()
    e.__cause__ = TypeError(p)
    return e


@case(lambda e: e.__traceback__.tb_frame.f_locals["p"])
def exception_traceback(p):
    try:
        return {}[p]
    except KeyError as e:
        return e


# ---- classes -----------------------------------------------------------------------------------

@case(attribute)
def new_class(p):
    return type("C", (), {"p": p})


@case(attribute)
def new_class_with_instances(p):
    cls = type("C", (), {"p": p, "__slots__": ("x",)})
    cls.instances = [cls(), cls()]
    cls.instances[0].x = cls
    return cls


@case(attribute)
def new_metaclass(p):
    meta = type("M", (type,), {})
    cls = meta("C", (), {})
    meta.p = p
    meta.first = cls
    return meta


@case(lambda e: e.A.value)
def new_enum(p):
    return enum.Enum("E", {"A": p, "B": 2})


@case(attribute)
def new_abc(p):
    cls = abc.ABCMeta("A", (), {"p": p})
    cls.register(type("B", (), {}))
    isinstance(p, cls)
    return cls


@case(lambda c: inspect.signature(c).parameters["p"].default)
def new_dataclass(p):
    return dataclasses.make_dataclass("D", [("p", object, p)])


@case(lambda d: d.p)
def namedtuple_class(p):
    return with_attribute(collections.namedtuple("N", "a b"), p)


@case(lambda c: c.__subclasses__()[0].p)
def class_and_subclass(p):
    base = type("Base", (), {})
    base.child = type("Child", (base,), {"p": p})
    return base


# ---- iterators ---------------------------------------------------------------------------------

def advanced(iterator):
    next(iterator)
    return iterator


cases(next,
      list_iterator=lambda p: iter([p] * 3),
      reversed=lambda p: reversed([p] * 3),
      tuple_iterator=lambda p: iter((p,) * 3),
      deque_iterator=lambda p: iter(collections.deque([p] * 3)),
      dict_value_iterator=lambda p: iter({"k": p}.values()),
      dict_key_iterator=lambda p: iter({p: 1}),
      dict_reversed=lambda p: reversed({p: 1}),
      set_iterator=lambda p: iter({p}),
      ordered_iterator=lambda p: iter(collections.OrderedDict([(p, 1)])),
      callable_iterator=lambda p: iter(p, None),
      sequence_iterator=lambda p: iter(collections.UserList([p])),
      map=lambda p: map(p, [1, 2, 3]),
      filter=lambda p: filter(None, [p] * 2),
      accumulate=lambda p: itertools.accumulate([p] * 3, p),
      chain=lambda p: itertools.chain([p] * 2, [p]),
      chain_from_iterable=lambda p: itertools.chain.from_iterable([[p], [p]]),
      compress=lambda p: itertools.compress([p], [1]),
      cycle=lambda p: advanced(itertools.cycle([p, p])),
      dropwhile=lambda p: itertools.dropwhile(lambda x: False, [p]),
      filterfalse=lambda p: itertools.filterfalse(lambda x: False, [p]),
      islice=lambda p: itertools.islice([p] * 5, 3),
      repeat=itertools.repeat,
      starmap=lambda p: itertools.starmap(p, [(1,)]),
      takewhile=lambda p: itertools.takewhile(p, [p]),
      tee=lambda p: itertools.tee([p] * 200)[1])
cases(lambda i: next(i)[0],
      zip=lambda p: zip([p], [2]),
      zip_longest=lambda p: itertools.zip_longest([p], [2, 3]),
      product=lambda p: itertools.product([p], [1, 2]),
      permutations=lambda p: itertools.permutations([p, p]),
      combinations=lambda p: itertools.combinations([p, p, 1], 2),
      combinations_with_replacement=lambda p: itertools.combinations_with_replacement([p], 2),
      pairwise=lambda p: advanced(itertools.pairwise([0, p, p])),
      dict_item_iterator=lambda p: iter({p: 1}.items()))
if sys.version_info >= (3, 12):
    cases(lambda i: next(i)[0], batched=lambda p: itertools.batched([p, p], 2))
cases(lambda i: next(i)[1], enumerate=lambda p: enumerate([p] * 2))
cases(lambda i: next(next(i)[1]), groupby=lambda p: itertools.groupby([p, p], p))
cases(only,
      dict_values_view=lambda p: {"k": p}.values(), dict_keys_view=lambda p: {p: 1}.keys(),
      ordered_values_view=lambda p: collections.OrderedDict(k=p).values())
cases(lambda v: only(v)[1], dict_items_view=lambda p: {"k": p}.items())

# ---- the standard library's C types ------------------------------------------------------------

LOOP = asyncio.new_event_loop()
VARIABLE = contextvars.ContextVar("VARIABLE")


class Structure(ctypes.Structure):
    _fields_ = [("p", ctypes.py_object), ("n", ctypes.c_int)]


class Raw(io.RawIOBase):
    def readable(self):
        return True


cases(attribute,
      bytesio=lambda p: with_attribute(io.BytesIO(b"x"), p),
      stringio=lambda p: with_attribute(io.StringIO("x"), p),
      text_wrapper=lambda p: with_attribute(io.TextIOWrapper(io.BytesIO()), p),
      buffered_reader=lambda p: with_attribute(io.BufferedReader(io.BytesIO()), p),
      ctypes_structure=Structure,
      array_subclass=lambda p: with_attribute(subclass(array.array)("b"), p),
      ast_node=lambda p: with_attribute(ast.Name("x"), p),
      thread_local=lambda p: with_attribute(threading.local(), p),
      pickler_subclass=lambda p: with_attribute(subclass(pickle.Pickler)(io.BytesIO()), p))
cases(first, ctypes_objects=lambda p: (ctypes.py_object * 3)(p, p, p))
cases(lambda x: x.value, ctypes_object=ctypes.py_object)
cases(lambda x: x(), ctypes_callback=lambda p: ctypes.PYFUNCTYPE(ctypes.py_object)(p))
cases(lambda x: x.object_hook, json_decoder=lambda p: json.JSONDecoder(object_hook=p))
cases(lambda x: x.raw.p, buffered_over_python=lambda p: io.BufferedReader(with_attribute(Raw(), p)))
cases(lambda x: x.get("k"), xml_element=lambda p: xml.etree.ElementTree.Element("e", {"k": p}))
cases(lambda x: x.__callback__.__self__,
      weakref_callback=lambda p: weakref.ref(ANCHOR, p.method),
      weakref_subclass=lambda p: subclass(weakref.ref)(ANCHOR, p.method))
cases(lambda x: x.parameters["x"].default, signature=lambda p: inspect.signature(lambda x=p: 0))
cases(lambda x: x.__bound__, typevar=lambda p: typing.TypeVar("T", bound=p))


@case(operator.attrgetter("encoder"))
def json_encoder(p):
    return json.encoder.c_make_encoder(
        {}, p, p, None, ":", ",", False, False, True)


@case(operator.attrgetter("row_factory"))
def sqlite_connection(p):
    connection = sqlite3.connect(":memory:")
    connection.row_factory = p
    return connection


@case(operator.attrgetter("connection.row_factory"))
def sqlite_cursor(p):
    return sqlite_connection(p).cursor()


@case(lambda x: x.dispatch_table["k"])
def pickler(p):
    result = pickle.Pickler(io.BytesIO())
    result.dispatch_table = {"k": p}
    return result


@case(lambda x: x[0].get("k"))
def xml_children(p):
    root = xml.etree.ElementTree.Element("root")
    xml.etree.ElementTree.SubElement(root, "child", {"k": p})
    return root


@case(operator.attrgetter("StartElementHandler"))
def expat_parser(p):
    parser = expat.ParserCreate()
    parser.StartElementHandler = p
    return parser


@case(lambda x: x[VARIABLE])
def context(p):
    result = contextvars.Context()
    result.run(VARIABLE.set, p)
    return result


@case(lambda x: x.get())
def context_variable_default(p):
    return contextvars.ContextVar("v", default=p)


@case(lambda x: x.get())
def simple_queue(p):
    q = queue.SimpleQueue()
    q.put(p)
    return q


@case(lambda x: x.result())
def future(p):
    f = asyncio.Future(loop=LOOP)
    f.set_result(p)
    return f


@case(lambda x: x._callbacks[0][0])
def future_callback(p):
    f = asyncio.Future(loop=LOOP)
    f.add_done_callback(p)
    f.add_done_callback(p)
    return f


@case(lambda x: next(x).__self__)
def csv_reader(p):
    """The reader holds the iterator; its lines are what holds the probe."""
    lines = iter([p.method, p.method])
    return itertools.chain(lines, csv.reader(lines))


@case(attribute)
def exit_stack(p):
    stack = contextlib.ExitStack()
    stack.callback(p)
    return with_attribute(stack, p)


# ---- the tests ---------------------------------------------------------------------------------

def build(make, probe_class, tags):
    """One ring per tag; returns the probes."""
    probes = []
    for tag in tags:
        probe = probe_class(tag)
        probe.ring = make(probe)
        probes.append(probe)
    return probes


def user_collect(*args):
    raise AssertionError("gc.collect() called")


class Collects(unittest.TestCase):
    """Each case by itself; the methods are made below."""

    def check(self, name, probe_class=Probe):
        make, peek = CASES[name]
        live = build(make, probe_class, range(TWINS))
        tags = [f"{name} {i}" for i in range(TWINS)]
        dead = build(make, probe_class, tags)
        refs = [weakref.ref(p) for p in dead]
        age()
        del dead
        for _ in range(2):
            collect()
            if all(r() is None for r in refs):
                break
        left = sum(r() is not None for r in refs)
        self.assertEqual(left, 0, f"{left} of {TWINS} dead rings through {name} are still there")
        if probe_class is FinalizedProbe:
            done = collections.Counter(FinalizedProbe.finalized)
            self.assertEqual([done[t] for t in tags], [1] * TWINS)
        for tag, probe in enumerate(live):
            self.assertEqual(probe.tag, tag)
            self.assertIs(peek(probe.ring), probe, name)


for _name in CASES:
    setattr(Collects, f"test_{_name}", lambda self, n=_name: self.check(n))
    setattr(Collects, f"test_{_name}_finalized",
            lambda self, n=_name: self.check(n, FinalizedProbe))


class Record:
    def __init__(self, other):
        self.values = [0, other]


@requires_active
class BusyProgram(unittest.TestCase):
    """Frees as much as it allocates, so the count of generation 0 never asks for a collection."""

    def test_a_collection_ends(self):
        records = [Record(None) for _ in range(50_000)]
        age()
        for _ in range(3):
            zgc.collect(wait=False)
            end = time.monotonic() + 30
            while zgc.stats()["running"] and time.monotonic() < end:
                for at in range(0, 2000, 7):
                    records[at] = Record(records[at + 1])
                    records[at].values[1] = None
            self.assertFalse(zgc.stats()["running"], "no safepoint came")


class EverySize(unittest.TestCase):
    """The ring goes through the last, the first or a middle entry of containers of every size: the
    ends of tables and of memory blocks are where a walker that counts wrongly misses one."""

    SIZES = [*range(1, 140), 255, 256, 257, 341, 342, 682, 683, 1365, 1366, 4000, 21845, 21846]

    def check(self, make):
        """make(n, at, probe): a container of n entries with the probe as entry number at."""
        places = [(n, at) for n in self.SIZES for at in {0, n // 2, n - 1}]

        def build():
            probes = []
            for n, at in places:
                probe = Probe((n, at))
                probe.ring = make(n, at, probe)
                probes.append(probe)
            return probes
        live, dead = build(), build()
        refs = [weakref.ref(p) for p in dead]
        live_refs = [weakref.ref(p) for p in live]
        age()
        del dead
        live = [p.ring for p in live]       # held through the container only
        collect()
        collect()
        self.assertEqual([(n, at) for (n, at), r in zip(places, refs) if r() is not None], [])
        self.assertEqual([(n, at) for (n, at), r in zip(places, live_refs)
                          if r() is None or r().tag != (n, at)], [])
        self.assertEqual(len(live), len(places))

    @staticmethod
    def items(n, at, p):
        return [p if i == at else None for i in range(n)]

    def test_list(self):
        self.check(self.items)

    def test_list_appended(self):
        def make(n, at, p):
            x = []
            for item in self.items(n, at, p):
                x.append(item)
            return x
        self.check(make)

    def test_tuple(self):
        self.check(lambda n, at, p: tuple(self.items(n, at, p)))

    def test_dict_with_string_keys(self):
        self.check(lambda n, at, p: {str(i): x for i, x in enumerate(self.items(n, at, p))})

    def test_dict_with_number_keys(self):
        self.check(lambda n, at, p: {i: x for i, x in enumerate(self.items(n, at, p))})

    def test_dict_copied(self):
        self.check(lambda n, at, p: {i: x for i, x in enumerate(self.items(n, at, p))}.copy())

    def test_dict_keys(self):
        self.check(lambda n, at, p: {x or i: 0 for i, x in enumerate(self.items(n, at, p))})

    def test_set(self):
        self.check(lambda n, at, p: {x or i for i, x in enumerate(self.items(n, at, p))})

    def test_frozenset(self):
        self.check(lambda n, at, p: frozenset(x or i for i, x in enumerate(self.items(n, at, p))))

    def test_deque(self):
        self.check(lambda n, at, p: collections.deque(self.items(n, at, p)))

    def test_ordered(self):
        self.check(lambda n, at, p: collections.OrderedDict(enumerate(self.items(n, at, p))))

    def test_instance_attributes(self):
        def make(n, at, p):
            x = Plain()
            for i, item in enumerate(self.items(n, at, p)):
                setattr(x, f"a{i}", item)
            return x
        self.SIZES = range(1, 60)
        self.check(make)

    def test_instance_attributes_of_own_class(self):
        def make(n, at, p):
            x = type("Own", (), {})()
            for i, item in enumerate(self.items(n, at, p)):
                setattr(x, f"a{i}", item)
            return x
        self.SIZES = range(1, 60)
        self.check(make)

    def test_slots(self):
        def make(n, at, p):
            x = type("Slotted", (), {"__slots__": [f"a{i}" for i in range(n)]})()
            setattr(x, f"a{at}", p)
            return x
        self.SIZES = range(1, 60)
        self.check(make)

    def test_class_attributes(self):
        def make(n, at, p):
            return type("C", (), {f"a{i}": x for i, x in enumerate(self.items(n, at, p))})
        self.SIZES = range(1, 60)
        self.check(make)

    def test_tuple_subclass(self):
        self.check(lambda n, at, p: MyTuple(self.items(n, at, p)))

    def test_closure_cells(self):
        def make(n, at, p):
            names = [f"a{i}" for i in range(n)]
            source = f"def f({', '.join(names)}):\n return lambda: ({', '.join(names)},)"
            scope = {}
            exec(source, scope)
            return scope["f"](*self.items(n, at, p))
        self.SIZES = range(1, 40)
        self.check(make)


class Together(unittest.TestCase):
    def test_all_cases_in_one_collection(self):
        live = {n: build(make, Probe, range(5)) for n, (make, _) in CASES.items()}
        dead = {n: build(make, Probe, range(5)) for n, (make, _) in CASES.items()}
        refs = {n: [weakref.ref(p) for p in probes] for n, probes in dead.items()}
        age()
        dead.clear()
        collect()
        collect()
        self.assertEqual([n for n, rs in refs.items() if any(r() is not None for r in rs)], [])
        for name, probes in live.items():
            for tag, probe in enumerate(probes):
                self.assertEqual(probe.tag, tag)
                self.assertIs(CASES[name][1](probe.ring), probe, name)

    def test_ring_through_all_cases(self):
        """One ring that passes through every kind of container once."""
        def ring():
            probes = []
            holder = Probe("start")
            probes.append(holder)
            for name, (make, _) in CASES.items():
                probe = Probe(name)
                probe.ring = make(probes[-1])
                probes.append(probe)
            holder.ring = probes[-1]
            return holder, [weakref.ref(p) for p in probes]
        live, live_refs = ring()
        dead, refs = ring()
        age()
        collect()
        self.assertEqual([r().tag for r in refs if r() is None], [])
        del dead
        collect()
        collect()
        self.assertEqual([r().tag for r in refs if r() is not None], [])
        self.assertEqual([r().tag for r in live_refs], ["start", *CASES])
        self.assertIs(live.ring.tag, live_refs[-1]().tag)

    def test_young_garbage_goes_too(self):
        """An explicit collection also takes what was dropped a moment ago."""
        refs = [weakref.ref(p) for p in build(lambda p: [p], Probe, range(100))]
        collect()
        self.assertEqual(sum(r() is not None for r in refs), 0)

    def test_old_ring_with_a_young_part(self):
        old = build(lambda p: [p], Probe, range(50))
        age()
        refs = []
        for probe in old:
            probe.young = Probe("young")
            probe.young.back = probe
            refs += [weakref.ref(probe), weakref.ref(probe.young)]
        del old, probe
        collect()
        collect()
        self.assertEqual(sum(r() is not None for r in refs), 0)

    def test_one_component_of_many_objects(self):
        head = prev = Probe(0)
        for i in range(1, 50000):
            node = Probe(i)
            prev.next, node.prev = node, prev
            prev = node
        prev.next, head.prev = head, prev
        refs = [weakref.ref(head), weakref.ref(prev)]
        age()
        del head, prev, node
        collect()
        self.assertEqual([r() for r in refs], [None, None])

    def test_many_components_hanging_on_each_other(self):
        """A garbage ring that references the next garbage ring, and so on."""
        last, refs = None, []
        for i in range(20000):
            probe = Probe(i)
            probe.ring, probe.next = [probe], last
            last = probe
            refs.append(weakref.ref(probe))
        age()
        del last, probe
        for _ in range(2):
            collect()
        self.assertEqual(sum(r() is not None for r in refs), 0)

    def test_held_only_by_a_live_weak_value(self):
        """A weak dictionary does not keep what it shows, and never shows a half-dead object."""
        live = build(lambda p: {"k": p}, Probe, range(500))
        values = weakref.WeakValueDictionary((p.tag, p) for p in live)
        age()
        del live[::2]
        collect()
        self.assertEqual(sorted(values), list(range(1, 500, 2)))
        self.assertTrue(all(p.ring["k"] is p for p in values.values()))

    def test_held_by_untracked_and_c_owners(self):
        """References from outside the heap (a C stack, ctypes, thread state) hold."""
        probes = build(lambda p: (p,), Probe, range(4))
        address = id(probes[0])
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(probes[0]))
        token = VARIABLE.set(probes[1])
        generator = (p.tag for p in [probes[2]] * 2)
        next(generator)
        thread_has_it, thread_may_end = threading.Event(), threading.Event()
        results = []

        def hold(p):
            thread_has_it.set()
            thread_may_end.wait()
            results.append(p.ring[0].tag)
        thread = threading.Thread(target=hold, args=(probes[3],))
        thread.start()
        thread_has_it.wait()
        refs = [weakref.ref(p) for p in probes]
        age()
        del probes
        for _ in range(3):
            collect()
        self.assertEqual([r() is not None and r().ring[0].tag for r in refs], [0, 1, 2, 3])
        thread_may_end.set()
        thread.join()
        self.assertEqual(results, [3])
        self.assertEqual(next(generator), 2)
        VARIABLE.reset(token)
        ctypes.pythonapi.Py_DecRef(ctypes.cast(address, ctypes.py_object))
        del thread, generator, hold
        collect()
        collect()
        self.assertEqual([r() for r in refs], [None] * 4)

    def test_dead_classes_with_instances(self):
        refs = []
        for i in range(200):
            cls = type(f"C{i}", (Probe,), {"n": i, "f": lambda self: self})
            cls.all = [cls(j) for j in range(5)]
            refs += [weakref.ref(cls), weakref.ref(cls.all[0])]
        age()
        del cls
        collect()
        collect()
        self.assertEqual(sum(r() is not None for r in refs), 0)

    def test_dead_modules(self):
        refs = []
        for i in range(50):
            module = types.ModuleType(f"m{i}")
            exec("def f(): return g\ndef g(): return f\nclass C:\n x = f", module.__dict__)
            refs += [weakref.ref(module.f), weakref.ref(module.C)]
        age()
        del module
        collect()
        collect()
        self.assertEqual(sum(r() is not None for r in refs), 0)

    @requires_active
    def test_these_were_concurrent_collections(self):
        before = zgc.stats()
        build(lambda p: [p], Probe, range(1000))
        age()
        zgc.collect()
        after = zgc.stats()
        self.assertEqual(after["collections_explicit"] - before["collections_explicit"], 1)
        self.assertEqual(after["escalations"], before["escalations"])
        self.assertGreater(after["concurrent_ns"], before["concurrent_ns"])


if __name__ == "__main__":
    if ACTIVE:
        gc.collect = user_collect
    main()
