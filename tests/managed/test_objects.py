"""What a program may expect of zgc.Object and the containers."""

import copy
import gc
import inspect
import os
import pickle
import subprocess
import sys
import threading
import unittest
import weakref

import zgc


class Node(zgc.Object):
    left: "Node"
    right: "Node"
    key: zgc.i64
    weight: zgc.f64
    tag: object


class Sub(Node):
    extra: zgc.u16
    note: str

    def total(self):
        return self.key + self.extra

    @property
    def double(self):
        return self.key * 2


class Initialised(zgc.Object):
    __fields__ = "name value"
    count: "zgc.i32" = 7

    def __init__(self, name):
        super().__init__()
        self.name = name


class Raw(zgc.Object):
    __fields__ = {"a": zgc.i8, "b": zgc.u8, "c": zgc.i16, "d": zgc.u16, "e": zgc.i32, "f": zgc.u32,
                  "g": zgc.i64, "h": zgc.u64, "x": zgc.f32, "y": zgc.f64, "z": zgc.b8}


def churn():
    zgc.collect("young")
    zgc.collect("full")


class Objects(unittest.TestCase):

    def test_fields_start_empty(self):
        node = Node()
        self.assertEqual((node.left, node.right, node.key, node.weight, node.tag),
                         (None, None, 0, 0.0, None))

    def test_constructor_takes_fields_by_position_and_name(self):
        node = Node(None, Node(key=2), 1, tag="t")
        self.assertEqual((node.right.key, node.key, node.tag), (2, 1, "t"))
        with self.assertRaisesRegex(TypeError, "at most 5"):
            Node(1, 2, 3, 4, 5, 6)
        with self.assertRaisesRegex(TypeError, "unexpected keyword argument 'nokey'"):
            Node(nokey=1)

    def test_constructor_errors(self):
        for arguments, names, text in (((None,) * 6, {}, "takes at most 5 positional arguments .6 given"),
                                       ((), {"nothing": 1}, "unexpected keyword argument 'nothing'"),
                                       ((None,), {"left": None}, "multiple values for argument 'left'")):
            with self.assertRaisesRegex(TypeError, text):
                Node(*arguments, **names)
        with self.assertRaisesRegex(TypeError, "unexpected keyword argument '5'"):
            Node().__setstate__({5: 1})

    def test_arguments_of_collect(self):
        class Undecided:
            def __bool__(self):
                raise KeyError("undecided")
        self.assertRaises(KeyError, zgc.collect, "young", Undecided())
        self.assertRaises(KeyError, zgc.collect, "full", wait=Undecided())
        self.assertRaises(TypeError, zgc.collect, "young", nonsense=1)
        self.assertRaises(TypeError, zgc.collect, "young", True, 3)
        self.assertRaises(ValueError, zgc.collect, "yuong")
        self.assertIsNone(zgc.collect("young", False))

    def test_signature(self):
        class Full(zgc.Object):
            a: object
            k: zgc.i64 = 7
            w: zgc.f64
            b: zgc.b8
        self.assertEqual(str(inspect.signature(Full)), "(a=None, k=7, w=0.0, b=False)")
        empty = Full()
        for name, parameter in inspect.signature(Full).parameters.items():
            self.assertEqual(getattr(empty, name), parameter.default)
        self.assertEqual(str(inspect.signature(zgc.Object)), "()")
        Full.__init__ = lambda self, only: None
        self.assertEqual(str(inspect.signature(Full)), "(only)")
        self.assertFalse(hasattr(Full, "__signature__"))

    def test_own_init_and_defaults(self):
        thing = Initialised("n")
        self.assertEqual((thing.name, thing.value, thing.count), ("n", None, 7))

    def test_identity_holds(self):
        node = Node()
        node.left = Node(key=1)
        self.assertIs(node.left, node.left)
        left = node.left
        churn()
        self.assertIs(node.left, left)
        self.assertEqual(hash(left), hash(node.left))
        self.assertEqual(left, node.left)
        self.assertNotEqual(left, node)
        self.assertEqual(len({left, node.left, node}), 2)

    def test_undeclared_attribute(self):
        with self.assertRaises(AttributeError):
            Node().nothing
        with self.assertRaises(AttributeError):
            Node().nothing = 1
        with self.assertRaises(AttributeError):
            del Node().key

    def test_values_of_every_kind(self):
        node = Node()
        values = [None, True, False, 0, -1, 2**46, 2**47 - 1, 2**47, -2**47, -2**47 - 1, 10**30, 0.0,
                  0.1, 1.5, float("inf"), -0.0, "text", b"b", (1,), [2], {3: 4}, int, len, ...]
        for value in values:
            node.tag = value
            churn()
            self.assertEqual(repr(node.tag), repr(value))
            self.assertIs(type(node.tag), type(value))
        node.tag = nan = float("nan")
        self.assertNotEqual(node.tag, nan)

    def test_references_to_python_objects_are_counted(self):
        value = ["shared"]
        before = sys.getrefcount(value)
        nodes = [Node(tag=value) for _ in range(10)]
        self.assertEqual(sys.getrefcount(value), before + 10)
        nodes[0].tag = None
        self.assertEqual(sys.getrefcount(value), before + 9)
        nodes.clear()
        zgc.collect("full" if os.environ.get("ZGC_STRESS") else "young")    # stress makes them old
        self.assertEqual(sys.getrefcount(value), before)

    def test_raw_fields_check_their_range(self):
        raw = Raw()
        limits = {"a": (-2**7, 2**7 - 1), "b": (0, 2**8 - 1), "c": (-2**15, 2**15 - 1),
                  "d": (0, 2**16 - 1), "e": (-2**31, 2**31 - 1), "f": (0, 2**32 - 1),
                  "g": (-2**63, 2**63 - 1), "h": (0, 2**64 - 1)}
        for name, bounds in limits.items():
            for value in bounds:
                setattr(raw, name, value)
                self.assertEqual(getattr(raw, name), value)
            for value in (bounds[0] - 1, bounds[1] + 1):
                with self.assertRaises(OverflowError):
                    setattr(raw, name, value)
            with self.assertRaises(TypeError):
                setattr(raw, name, "1")
        raw.x, raw.y, raw.z = 0.5, 0.1, "yes"
        self.assertEqual((raw.x, raw.y, raw.z), (0.5, 0.1, True))
        churn()
        self.assertEqual(raw.h, 2**64 - 1)

    def test_subclass(self):
        sub = Sub(key=3, extra=4, note="n")
        self.assertEqual((sub.total(), sub.double, sub.note), (7, 6, "n"))
        self.assertIsInstance(sub, Node)
        self.assertTrue(issubclass(Sub, zgc.Object))
        parent = Node(left=sub)
        del sub
        churn()
        self.assertIs(type(parent.left), Sub)
        self.assertEqual(parent.left.total(), 7)
        Node.key.__set__(parent.left, 10)
        self.assertEqual(parent.left.key, 10)
        with self.assertRaises(TypeError):
            Sub.extra.__get__(parent)
        with self.assertRaises(TypeError):
            Sub.extra.__get__(5)

    def test_class_errors(self):
        with self.assertRaisesRegex(TypeError, "__del__"):
            class WithDel(zgc.Object):
                def __del__(self):
                    pass
        with self.assertRaisesRegex(TypeError, "__del__"):
            class Mixin:
                __slots__ = ()

                def __del__(self):
                    pass

            class Inherits(zgc.Object, Mixin):
                pass
        with self.assertRaises(TypeError):
            class WithDict:
                pass

            class Mixed(zgc.Object, WithDict):
                pass
        with self.assertRaises(TypeError):
            class Slots(zgc.Object):
                __slots__ = ("a",)
        with self.assertRaisesRegex(TypeError, "already declared"):
            class Twice(Node):
                key: zgc.i64
        node = Node()
        with self.assertRaises(TypeError):
            node.__class__ = Raw
        with self.assertRaises((TypeError, AttributeError)):
            object.__setattr__(node, "__class__", Raw)

    def test_no_finalizer_later_either(self):
        class Late(Node):
            pass
        with self.assertRaisesRegex(TypeError, "__del__"):
            Late.__del__ = lambda self: None
        setattr(Late, "\ud800", 1)      # no text in UTF-8
        self.assertEqual(getattr(Late, "\ud800"), 1)

    def test_redefined_descriptor_wins(self):
        class Changing(zgc.Object):
            a: zgc.i64
        thing = Changing(5)
        self.assertEqual(thing.a, 5)
        Changing.a = property(lambda self: "changed")
        self.assertEqual(thing.a, "changed")

    def test_a_plain_base_in_front_gets_the_name_later(self):
        class Front:
            __slots__ = ()

        class Behind(Front, Node):
            pass
        behind = Behind(key=3000)
        self.assertEqual(behind.key, 3000)
        Front.key = property(lambda self: "in front")
        self.assertEqual(behind.key, "in front")
        del Front.key
        self.assertEqual(behind.key, 3000)

    def test_field_restored_after_a_shadow(self):
        class Shadowed(Node):
            pass
        node = Shadowed(key=3000)
        Shadowed.key = property(lambda self: "shadow")
        self.assertEqual(node.key, "shadow")
        del Shadowed.key
        self.assertEqual(node.key, 3000)
        node.key += 1
        self.assertEqual(node.key, 3001)

    def test_many_fields(self):
        names = [f"field_{i}" for i in range(200)]
        Many = type(Node)("Many", (zgc.Object,), {"__fields__": [(name, zgc.i64) for name in names]})
        many = Many(*range(200))
        for i, name in enumerate(names):
            self.assertEqual(getattr(many, name), i)
            setattr(many, name, -i)
        self.assertEqual([getattr(many, name) for name in names], [-i for i in range(200)])
        with self.assertRaises(AttributeError):
            many.field_200

    def test_getattr_hook(self):
        class Hooked(zgc.Object):
            a: zgc.i64

            def __getattr__(self, name):
                return "hook " + name
        self.assertEqual((Hooked(3).a, Hooked().b), (3, "hook b"))

    def test_repr(self):
        self.assertEqual(repr(Node(key=1, left=Node())),
                         "Node(left=<Node>, right=None, key=1, weight=0.0, tag=None)")

    def test_copies(self):
        node = Node(key=1, tag=["t"])
        node.left = Node(key=2, left=node)
        shallow, deep = copy.copy(node), copy.deepcopy(node)
        self.assertIs(shallow.left, node.left)
        self.assertIs(shallow.tag, node.tag)
        self.assertIsNot(deep.left, node.left)
        self.assertIs(deep.left.left, deep)
        self.assertEqual((deep.tag, deep.left.key), (["t"], 2))
        self.assertIsNot(deep.tag, node.tag)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            again = pickle.loads(pickle.dumps(node, protocol))
            self.assertIs(again.left.left, again)
            self.assertEqual((again.key, again.left.key, again.tag), (1, 2, ["t"]))

    def test_weak_references(self):
        node = Node(left=Node(key=5))
        seen = []
        inner = weakref.ref(node.left, lambda ref: seen.append(ref() is None))
        outer = weakref.ref(node)
        churn()
        self.assertIs(inner(), node.left)
        node.left.key = 6
        self.assertEqual(inner().key, 6)
        self.assertIs(outer(), node)
        node.left = None
        churn()
        self.assertIsNone(inner())
        self.assertEqual(seen, [True])
        found = outer()
        del node
        churn()
        self.assertIs(outer(), found)
        del found
        churn()
        self.assertIsNone(outer())

    def test_weak_value_dictionary(self):
        cache = weakref.WeakValueDictionary()
        keep = zgc.Array(Node(key=i) for i in range(5000))
        for node in keep:
            cache[node.key] = node
        del node
        churn()
        self.assertEqual(len(cache), 5000)
        self.assertTrue(all(cache[i].key == i for i in range(5000)))
        for i in range(0, 5000, 2):
            keep[i] = None
        for _ in range(6):
            zgc.collect("full")
        self.assertEqual(sorted(cache), list(range(1, 5000, 2)))

    def test_gc_does_not_see_bodies(self):
        zgc.collect("full")
        root = zgc.Array(Node(key=i) for i in range(1000))
        before = len(gc.get_objects())
        for i in range(1000):
            root[i].left = Node()
        self.assertLess(len(gc.get_objects()) - before, 50)
        self.assertFalse(gc.is_tracked(root))

    def test_threads(self):
        shared = zgc.List()
        errors = []

        def work(n):
            try:
                for i in range(2000):
                    shared.append(Node(key=n * 10000 + i))
                    if i % 400 == 0:
                        zgc.collect("young")
            except BaseException as error:
                errors.append(error)
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        self.assertEqual(sorted(n.key for n in shared),
                         sorted(n * 10000 + i for n in range(4) for i in range(2000)))


class Numbers(unittest.TestCase):
    """Number objects are used again once the program has dropped them, and not before."""

    EDGES = [n + d for n in (0, 256, 1024, 2**15, 2**30, 2**32, 2**45, 2**47, 2**60, 2**62)
             for d in (-6, -1, 0, 1, 5)] + [2**63 - 1]

    def test_values_at_the_edges(self):
        for field in "key", "tag":
            for n in self.EDGES + [-n for n in self.EDGES] + [-2**63]:
                node = Node()
                setattr(node, field, n)
                self.assertEqual(getattr(node, field), n)
                self.assertEqual(str(getattr(node, field)), str(n))
                self.assertEqual(getattr(node, field) + 1, n + 1)
                self.assertEqual(hash(getattr(node, field)), hash(n))

    def test_what_is_kept_does_not_change(self):
        for scale in (1, -1, 2**20, 2**40, -2**40, 2**61):
            expected = [scale * (i + 2000) for i in range(100)]
            nodes = [Node(key=n % 2**63, weight=n * 0.5, tag=n * 0.25) for n in expected]
            keys = [node.key for node in nodes]
            weights = [node.weight for node in nodes]
            tags = [node.tag for node in nodes]
            for node in nodes:
                node.key, node.weight, node.tag
            self.assertEqual(keys, [n % 2**63 for n in expected])
            self.assertEqual(weights, [n * 0.5 for n in expected])
            self.assertEqual(tags, [n * 0.25 for n in expected])

    def test_kept_by_every_second_reader(self):
        nodes = [Node(key=3000 + i) for i in range(50)]
        kept = []
        for round in range(20):
            for i, node in enumerate(nodes):
                number = node.key
                self.assertEqual(number, 3000 + i)
                if (i + round) % 3 == 0:
                    kept.append((i, number))
        for i, number in kept:
            self.assertEqual(number, 3000 + i)

    def test_several_in_one_expression(self):
        a, b, c = Node(key=5000), Node(key=70000), Node(key=900000)
        self.assertEqual((a.key, b.key, c.key, a.key, b.key, c.key),
                         (5000, 70000, 900000, 5000, 70000, 900000))
        self.assertEqual({a.key: b.key, b.key: c.key, c.key: a.key},
                         {5000: 70000, 70000: 900000, 900000: 5000})
        self.assertEqual(a.key * b.key + c.key * a.key - b.key, 5000 * 70000 + 900000 * 5000 - 70000)

    def test_small_ones_are_the_shared_ones(self):
        for n in range(-5, 257):
            self.assertIs(Node(key=n).key, int(str(n)))

    def test_stored_elsewhere_by_c_code(self):
        nodes = [Node(key=10000 + i) for i in range(100)]
        seen = set(map(lambda node: node.key, nodes))
        self.assertEqual(seen, set(range(10000, 10100)))
        table = {}
        for node in nodes:
            table.setdefault(node.key, []).append(node.key)
        self.assertEqual(table, {n: [n] for n in range(10000, 10100)})
        self.assertEqual(max(nodes, key=lambda node: node.key).key, 10099)

    def test_in_threads(self):
        errors = []

        def work(base):
            nodes = [Node(key=base + i, weight=base + i + 0.5) for i in range(300)]
            for _ in range(60):
                keys = [(node.key, node.weight) for node in nodes]
                if keys != [(base + i, base + i + 0.5) for i in range(300)]:
                    errors.append(base)
        threads = [threading.Thread(target=work, args=(base,)) for base in (2000, 10**6, 2**40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])


class Containers(unittest.TestCase):

    def test_allocate(self):
        array = zgc.allocate(5)
        self.assertEqual(list(array), [None] * 5)
        with self.assertRaises(ValueError):
            zgc.allocate(-1)
        with self.assertRaises(TypeError):
            zgc.allocate("5")

    def test_array(self):
        array = zgc.Array("abc")
        self.assertEqual((len(array), array[-1], list(array[1:]), array.index("b"), "c" in array),
                         (3, "c", ["b", "c"], 1, True))
        self.assertEqual(list(reversed(array)), ["c", "b", "a"])
        array[::2] = "xy"
        self.assertEqual(list(array), ["x", "b", "y"])
        with self.assertRaises(ValueError):
            array[:] = "toolong"
        with self.assertRaises(IndexError):
            array[3]
        with self.assertRaises(IndexError):
            array[-4] = 0
        with self.assertRaises(TypeError):
            del array[0]
        with self.assertRaises(TypeError):
            array["x"]

    def test_large_array(self):
        for n in (1000, 5000, 50000, 300000):
            array = zgc.allocate(n)
            for i in range(0, n, 97):
                array[i] = Node(key=i)
            churn()
            for i in range(0, n, 97):
                self.assertEqual(array[i].key, i)

    def test_list(self):
        items = zgc.List(range(5))
        items += [5]
        items.extend(items)
        items.sort(reverse=True)
        self.assertEqual(items, [5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0])
        items.reverse()
        items.remove(3)
        self.assertEqual(items[4:8], [2, 2, 3, 4])
        self.assertEqual(items + [9], list(items) + [9])
        self.assertEqual(items * 2, list(items) * 2)
        self.assertEqual(repr(zgc.List([1, "a"])), "List([1, 'a'])")
        with self.assertRaises(TypeError):
            hash(items)
        self.assertTrue(zgc.List([1, 2]) < [1, 3] and zgc.List([1, 2]) <= zgc.List([1, 2]))
        self.assertTrue([1, 3] > zgc.List([1, 2]) and zgc.List([2]) >= [1, 9])
        self.assertEqual([1] + zgc.List([2]), zgc.List([1, 2]))
        with self.assertRaises(TypeError):
            items < (1,)

    def test_containers_in_annotations(self):
        class Holder(zgc.Object):
            items: zgc.List[int]
            names: zgc.Dict[str, Node]
        self.assertEqual(Holder(zgc.List([1])).items[0], 1)

    def test_dict(self):
        d = zgc.Dict({"a": 1}, b=2)
        d |= {"c": 3}
        self.assertEqual((list(d), list(d.values()), list(d.items())[0], list(reversed(d))),
                         (["a", "b", "c"], [1, 2, 3], ("a", 1), ["c", "b", "a"]))
        self.assertEqual(d.keys() & {"a", "z"}, {"a"})
        self.assertEqual({"q": 0, "a": 9} | d, {"q": 0, "a": 1, "b": 2, "c": 3})
        self.assertEqual(zgc.Dict.fromkeys("xy", 0), {"x": 0, "y": 0})
        self.assertEqual(repr(d), "Dict({'a': 1, 'b': 2, 'c': 3})")
        with self.assertRaises(KeyError):
            d["z"]
        with self.assertRaises(TypeError):
            d[[]] = 1
        with self.assertRaises(RuntimeError):
            for key in d:
                d[key + "x"] = 1

    def test_dict_whose_keys_change_it(self):
        d = zgc.Dict()

        class Evil:
            def __hash__(self):
                return 1

            def __eq__(self, other):
                d.clear()
                zgc.collect("young")
                for i in range(20):
                    d[i + 100] = i
                return False
        d[Evil()] = 1
        d[Evil()] = 2
        self.assertGreaterEqual(len(d), 20)

    def test_managed_objects_in_containers(self):
        nodes = [Node(key=i) for i in range(100)]
        d = zgc.Dict(zip(nodes, range(100)))
        churn()
        self.assertEqual([d[n] for n in nodes], list(range(100)))

    def test_containers_copy_and_pickle(self):
        inner = zgc.List([1])
        for original in (zgc.Array([inner, 2]), zgc.List([inner, 2]), zgc.Dict(a=inner)):
            for again in (copy.deepcopy(original), pickle.loads(pickle.dumps(original))):
                self.assertIs(type(again), type(original))
                self.assertEqual(list(again), list(original))
        cyclic = zgc.List()
        cyclic.append(cyclic)
        again = pickle.loads(pickle.dumps(cyclic))
        self.assertIs(again[0], again)

    def test_abc(self):
        from collections import abc
        self.assertIsInstance(zgc.List(), abc.MutableSequence)
        self.assertIsInstance(zgc.Array(), abc.Sequence)
        self.assertIsInstance(zgc.Dict(), abc.MutableMapping)


class Reports(unittest.TestCase):

    def test_stats_pages_pauses(self):
        keep = zgc.Array(Node(key=i) for i in range(10000))
        churn()
        stats = zgc.stats()["managed"]
        self.assertGreaterEqual(stats["young_collections"], 1)
        self.assertGreaterEqual(stats["full_collections"], 1)
        self.assertGreater(stats["old_bytes"], 10000 * 40)
        pages = zgc.pages()
        self.assertTrue({"kind", "age", "size", "used", "live"} <= set(pages[0]))
        self.assertIn("old", {page["age"] for page in pages})
        self.assertTrue(all(0 <= page["live"] <= 1 for page in pages))
        histogram = zgc.pause_histogram()
        self.assertEqual(set(histogram), {"mark_start", "mark_end", "relocate_start"})
        self.assertEqual(sum(n for rows in histogram.values() for _, n in rows), stats["pauses"])
        del keep

    def test_stats_per_generation(self):
        before = zgc.stats()["managed"]
        keep = zgc.Array(Node(key=i) for i in range(5000))
        zgc.collect("young")
        young = zgc.stats()["managed"]
        self.assertGreater(young["young"]["marks"], before["young"]["marks"])
        self.assertEqual(young["old"]["marks"], before["old"]["marks"])
        self.assertGreaterEqual(young["young"]["marked_bodies"], before["young"]["marked_bodies"] + 5000)
        zgc.collect("full")
        full = zgc.stats()["managed"]
        self.assertGreaterEqual(full["young"]["marks"], young["young"]["marks"] + 2)
        self.assertEqual(full["old"]["marks"], young["old"]["marks"] + 1)
        self.assertGreaterEqual(full["old"]["marked_bodies"], young["old"]["marked_bodies"] + 5000)
        self.assertEqual(full["young"]["pauses"] + full["old"]["pauses"], full["pauses"])
        self.assertEqual(full["full_collections"], before["full_collections"] + 1)
        self.assertEqual(len(keep), 5000)

    def test_bad_generation(self):
        with self.assertRaises(ValueError):
            zgc.collect("middle")


class BesidesTheCollector(unittest.TestCase):
    """What else of Python has to do with references."""

    def test_getrefcount_counts_the_handle(self):
        node, plain = Node(), []             # what a call adds differs between versions
        self.assertEqual(sys.getrefcount(node), sys.getrefcount(plain))
        keep = [node, node, plain, plain]
        self.assertEqual(sys.getrefcount(node), sys.getrefcount(plain))
        holder = Node(left=node)             # a body's reference is no count
        self.assertEqual(sys.getrefcount(node), sys.getrefcount(plain))
        del keep
        self.assertIs(holder.left, node)

    def test_frozen_objects(self):
        node = Node(tag=[1])
        node.tag.append(node)
        gc.freeze()
        try:
            churn()
            gc.collect()
            self.assertIs(node.tag[1], node)
        finally:
            gc.unfreeze()
        ref = weakref.ref(node)
        del node
        for _ in range(3):
            zgc.collect("full")
            gc.collect()
        self.assertIsNone(ref())

    def test_weak_reference_callbacks_and_resurrection(self):
        called = []
        node = Node(key=5)
        holder = Node(left=node)
        ref = weakref.ref(node, called.append)
        del node
        churn()
        self.assertEqual(ref().key, 5)       # the body is reachable: a handle again
        again = ref()
        holder.left = None
        churn()
        self.assertEqual((ref().key, called), (5, []))
        del again
        for _ in range(2):
            churn()
        self.assertIsNone(ref())
        self.assertEqual(called, [ref])

    def test_reduce_of_subclasses(self):
        class Local(Sub):
            pass
        Local.__qualname__ = "Local"
        globals()["Local"] = Local
        try:
            one = Local(key=3, extra=4, note="n", tag=[1])
            one.left = one
            for again in (copy.deepcopy(one), *(pickle.loads(pickle.dumps(one, protocol))
                                                for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1))):
                self.assertIs(type(again), Local)
                self.assertIs(again.left, again)
                self.assertEqual((again.total(), again.note, again.tag), (7, "n", [1]))
            self.assertIs(copy.copy(one).tag, one.tag)
        finally:
            del globals()["Local"]


class FirstUse(unittest.TestCase):

    def test_several_threads_at_once(self):
        program = """
import sys, threading, zgc
sys.setswitchinterval(1e-6)
together = threading.Barrier(8)
failed = []

def use():
    together.wait()
    try:
        zgc.List([1, 2])
    except BaseException as error:
        failed.append(error)

threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(failed)
"""
        for _ in range(3):
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
            self.assertEqual((done.stdout, done.stderr), ("[]\n", ""))


class Fork(unittest.TestCase):

    def test_fork_during_collections(self):
        keep = zgc.Array(Node(key=i, tag=str(i)) for i in range(20000))
        done = threading.Event()

        def background():
            n = 0
            while not done.is_set():
                zgc.collect("full" if n % 2 else "young")
                n += 1
        thread = threading.Thread(target=background)
        thread.start()
        try:
            for _ in range(25):
                pid = os.fork()
                if pid == 0:
                    try:
                        for i in range(0, 20000, 7):
                            assert keep[i].key == i and keep[i].tag == str(i)
                            keep[i] = Node(key=i, tag=str(i))
                        zgc.collect("young")
                        zgc.collect("full")
                        assert all(keep[i].key == i and keep[i].tag == str(i) for i in range(20000))
                        os._exit(0)
                    except BaseException:
                        import traceback
                        traceback.print_exc()
                        os._exit(1)
                self.assertEqual(os.waitpid(pid, 0)[1], 0)
        finally:
            done.set()
            thread.join()


if __name__ == "__main__":
    unittest.main()
