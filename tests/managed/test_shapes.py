"""Whatever a program does to its types, an access to a managed object is right or an exception."""

import dataclasses
import gc
import types
import unittest

import zgc

set_class = object.__dict__["__class__"].__set__


class Number(zgc.Object):
    value: zgc.i64


class Reference(zgc.Object):
    value: object
    other: object


class Layouts(unittest.TestCase):

    def test_two_bases_with_fields(self):
        for bases in ((Number, Reference), (Reference, Number)):
            with self.assertRaisesRegex(TypeError, "class Both: .* fields of both (Number|Reference) and"):
                type("Both", bases, {})

    def test_kinds_do_not_mix(self):
        kinds = zgc.List, zgc.Dict, zgc.Array, Number, type("Plain", (zgc.Object,), {})
        for first in kinds:
            for second in kinds[:3]:
                if first is not second:
                    for bases in ((first, second), (second, first)):
                        with self.assertRaisesRegex(TypeError, "do not mix"):
                            type("Mixed", bases, {})

    def test_a_base_without_fields_beside_one_with(self):
        class Mixin(zgc.Object):
            def double(self):
                return 2 * self.value
        for bases in ((Mixin, Number), (Number, Mixin)):
            kind = type("Kind", bases, {"__fields__": {"more": "zgc.f64"}, "__module__": __name__})
            made = [kind(i, i + .5) for i in range(100)]
            self.assertEqual([m.double() for m in made], [2 * i for i in range(100)])
            self.assertEqual([m.more for m in made], [i + .5 for i in range(100)])

    def test_one_line_below_another(self):
        class Middle(Number):
            middle: object

        class Last(Middle, Number):
            last: zgc.u8
        self.assertEqual(Last(1, "a", 2).__getstate__(), {"value": 1, "middle": "a", "last": 2})

    def test_fields_of_a_base_stay_where_they_are_packed(self):
        class Small(zgc.Object):
            a: zgc.u8
            b: zgc.u8

        class Wider(Small):
            c: zgc.u8
            d: zgc.i64
        made = Wider(1, 2, 3, 4)
        made.a = 255
        self.assertEqual((made.a, made.b, made.c, made.d), (255, 2, 3, 4))


class Types(unittest.TestCase):

    def test_bases_assigned(self):
        class Kind(Reference):
            __slots__ = ()
        kept = Kind([1, 2, 3], None)
        Kind.__bases__ = (Number,)
        with self.assertRaisesRegex(TypeError, "field 'value' does not belong"):
            kept.value = 0x4141414141
        with self.assertRaisesRegex(TypeError, "field 'value' does not belong"):
            kept.value
        Kind.__bases__ = (Reference,)
        zgc.collect("full")
        self.assertEqual(kept.value, [1, 2, 3])

    def test_bases_assigned_count(self):
        class Front(zgc.Object):
            __slots__ = ()

        class Kind(Number):
            __slots__ = ()
        made = Kind(5)
        self.assertEqual(made.value, 5)
        Front.value = "in front"
        Kind.__bases__ = (Front, Number)
        self.assertEqual(made.value, "in front")

    def test_class_assigned(self):
        made = Reference("a", "b")
        set_class(made, Number)
        for use in (lambda: made.value, lambda: setattr(made, "value", 1), lambda: made.other):
            self.assertRaises((TypeError, AttributeError), use)
        made.__setstate__({"value": [5]})           # by the body, not by the type
        set_class(made, Reference)
        self.assertEqual(made.value, [5])
        self.assertRaises(TypeError, setattr, made, "__class__", Number)

    def test_methods_of_another_kind(self):
        makes = {zgc.List: lambda: zgc.List([1, 2]), zgc.Dict: lambda: zgc.Dict(a=1),
                 zgc.Array: lambda: zgc.Array([1, 2]), Reference: lambda: Reference(1, 2)}
        uses = {zgc.List: (lambda x: x[0], len, lambda x: x.append(1), lambda x: x.insert(0, 1), lambda x: x.pop(),
                           lambda x: x.clear(), lambda x: x.__setitem__(slice(0, 1), [1, 2]), lambda x: x.copy(),
                           lambda x: x.__delitem__(slice(None)), lambda x: x + [1], lambda x: x * 2, lambda x: x.sort(),
                           lambda x: x.extend([1]), lambda x: x.reverse(), lambda x: x.remove(1), lambda x: x < [1],
                           lambda x: x.__init__([1]), lambda x: x[:], lambda x: 1 in x, lambda x: x.__imul__(2)),
                zgc.Dict: (lambda x: x["a"], len, lambda x: x.__setitem__("a", 1), lambda x: x.pop("a"), list,
                           lambda x: x.popitem(), lambda x: x.clear(), lambda x: x.copy(), lambda x: x.get("a"),
                           lambda x: x.setdefault("a"), lambda x: x == {}, lambda x: x.update(b=1), lambda x: x.items(),
                           lambda x: x._merge({}), lambda x: list(x.values()), lambda x: "a" in x),
                zgc.Array: (lambda x: x[0], len, lambda x: x[:], lambda x: x.__setitem__(slice(0, 1), [1]))}
        for kind, make in makes.items():
            for other in uses:
                for use in uses[other] if other is not kind else ():
                    made = make()
                    set_class(made, other)
                    try:
                        use(made)
                    except (TypeError, AttributeError):
                        pass
                    set_class(made, kind)
                    if kind is not Reference:
                        self.assertEqual(len(made), len(make()))
        zgc.collect("full")

    def test_private_methods_check_their_arguments(self):
        for kind in zgc.List, zgc.Dict, zgc.Array, zgc.Object:
            names = {n for base in kind.__mro__ for n in vars(base)
                     if n.startswith("_") and not n.startswith("__") or n in ("__setstate__", "__getstate__")}
            for name in names:
                for arguments in ((), (0,), (None,), ([1],), ((1, 2),), (0, 0), (-5, 10**30), (0, 0, (1, 2)),
                                  (0, 0, [1, 2]), ("a", "b", "c"), ({"a": 1},), ({1: 2},)):
                    made = kind()
                    try:
                        getattr(made, name)(*arguments)
                    except Exception:
                        pass
                    zgc.List(made) if hasattr(made, "__iter__") else repr(made)
        zgc.collect("full")

    def test_an_order_of_its_own(self):
        class Meta(zgc.ObjectType):
            def mro(cls):
                return [cls, Number, *zgc.Object.__mro__]

        class Kind(Reference, metaclass=Meta):
            pass
        made = Kind(0x4141414141)
        self.assertEqual(made.value, 0x4141414141)
        zgc.collect("full")

    def test_the_types_below_are_closed(self):
        for kind in (zgc.Object, zgc.List, zgc.Dict, zgc.Array):
            below = kind.__mro__[1]
            self.assertRaises(TypeError, below)
            self.assertRaises(TypeError, type, "Kind", (below,), {})
            self.assertRaises(TypeError, types.new_class, "Kind", (below,))

    def test_type_new(self):
        self.assertRaises(TypeError, type.__new__, zgc.ObjectType, "Kind", (zgc.Object,), {})
        self.assertRaises(TypeError, type.__new__, type, "Kind", (zgc.Object, zgc.List), {})
        made = type("Kind", (zgc.Object,), {"__fields__": "a"})(3)
        self.assertEqual(made.a, 3)

    def test_instances_of_a_class_that_is_being_made(self):
        escaped = []
        for base, arguments in ((Number, (1,)), (zgc.List, ()), (zgc.Dict, ()), (zgc.Array, ([1],))):
            class Base(base):
                def __init_subclass__(cls):
                    escaped.append(cls)
                    cls(*arguments)
            with self.assertRaisesRegex(TypeError, "Kind is still being made"):
                type("Kind", (Base,), {})
        victim = Number(5)
        for kind in escaped:
            set_class(victim, kind)
            self.assertRaises((AttributeError, TypeError), getattr, victim, "nothing")
            set_class(victim, Number)
        self.assertEqual(victim.value, 5)

    def test_descriptor_outlives_its_class(self):
        kind = type("Kind", (zgc.Object,), {"__fields__": "first"})
        descriptor = kind.first
        del kind
        for _ in range(3):
            zgc.collect("full")
            gc.collect()
        self.assertRaises(TypeError, descriptor.__get__, Reference())


class Protocols(unittest.TestCase):
    """Special methods that come later than the class."""

    def subclasses(self):
        class Kind(zgc.Object):
            value: object

        class Mixin:
            __slots__ = ()

        class Sub(Mixin, Kind):
            __slots__ = ()
        self.assertEqual(Sub(1).value, 1)
        return Kind, Mixin, Sub

    def test_init_comes_later(self):
        for which in (0, 1, 2):
            kinds = self.subclasses()
            kinds[which].__init__ = lambda self, *args, **names: setattr(self, "value", (args, names))
            self.assertEqual(kinds[2](1, a=2).value, ((1,), {"a": 2}))
            del kinds[which].__init__
            self.assertEqual(kinds[2](1).value, 1)
            self.assertEqual(kinds[2](value=2).value, 2)

    def test_new_comes_later(self):
        for which in (0, 1, 2):
            kinds = self.subclasses()
            kinds[which].__new__ = lambda cls, *args: 5
            self.assertEqual(kinds[2](1), 5)

    def test_finalizer_comes_later(self):
        Kind, Mixin, Sub = self.subclasses()
        Mixin.__del__ = lambda self: None
        self.assertRaisesRegex(TypeError, "__del__", Sub)
        del Mixin.__del__
        self.assertEqual(Sub(3).value, 3)

    def test_match(self):
        class Point(zgc.Object):
            x: zgc.f64
            y: zgc.f64

        class Solid(Point):
            z: object

        class Own(zgc.Object):
            __fields__ = "a b"
            __match_args__ = ("b",)
        self.assertEqual(Point.__match_args__, ("x", "y"))
        self.assertEqual(Solid.__match_args__, ("x", "y", "z"))
        self.assertEqual(Own.__match_args__, ("b",))
        match Solid(1, 2, "z"):
            case Solid(1, y, z):
                self.assertEqual((y, z), (2, "z"))
            case _:
                self.fail("no match")

    def test_dataclass_says_why_not(self):
        with self.assertRaisesRegex(TypeError, "a managed class is no dataclass"):
            @dataclasses.dataclass
            class Kind(zgc.Object):
                x: zgc.f64

    def test_narrow_floats_do_not_overflow(self):
        class Narrow(zgc.Object):
            f: zgc.f32
        made = Narrow(3e38)
        for value in (1e39, -1e39, 1.7e308):
            with self.assertRaisesRegex(OverflowError, "value out of range for field 'f'"):
                made.f = value
        self.assertAlmostEqual(made.f / 3e38, 1, places=6)
        for value in (float("inf"), float("-inf")):
            made.f = value
            self.assertEqual(made.f, value)


if __name__ == "__main__":
    unittest.main()
