"""The part of managed objects that need not be fast. Compiled into the library, run when the first
managed type is used; its names are looked up by the C sources."""

import copyreg as _copyreg
import reprlib as _reprlib
import sys as _sys
import types as _types
from collections import abc as _abc

_KINDS = ("reference", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64", "b8")


class RawType:
    """The type of a raw field: a number that the collector does not look at."""

    __slots__ = ("name", "code")

    def __init__(self, name, code):
        self.name = name
        self.code = code

    def __repr__(self):
        return "zgc." + self.name

    def __reduce__(self):
        return self.name

    def __or__(self, other):
        raise TypeError(f"a {self!r} field holds numbers only")

    def __call__(self, value=0):            # so that typing accepts it as a type
        raise TypeError(f"{self!r} is a field type")


RAW = {name: RawType(name, code) for code, name in enumerate(_KINDS) if code}


# ---- classes -----------------------------------------------------------------------------------

def _annotations(names):
    found = names.get("__annotations__")
    if found is not None:
        return found
    annotate = names.get("__annotate_func__") or names.get("__annotate__")
    if annotate is None:
        return {}
    import annotationlib                    # 3.14: evaluated lazily; names may not exist yet
    return annotationlib.call_annotate_function(annotate, annotationlib.Format.FORWARDREF)


def _kind(annotation, module):
    """Number of the field kind, or None where the annotation declares no field."""
    if isinstance(annotation, RawType):
        return annotation.code
    text = annotation
    if not isinstance(text, str):
        text = getattr(annotation, "__forward_arg__", None) or repr(annotation)
        return None if "ClassVar" in text else 0
    text = text.strip().strip("'\"")
    if text.startswith(("ClassVar", "typing.ClassVar")):
        return None
    last = text.rpartition(".")[2]
    if last in RAW:
        try:
            found = eval(text, vars(_sys.modules[module]))
        except Exception:
            return 0
        return found.code if isinstance(found, RawType) else 0
    return 0


def read_fields(name, bases, names):
    """(namespace without the fields, [(name, kind, default or this list)])"""
    if "__slots__" in names and names["__slots__"] not in ((), []):
        raise TypeError("a managed class declares fields by annotations or __fields__, not __slots__")
    if "__del__" in names:
        raise TypeError("a managed class cannot have __del__: bodies end without running code")
    rest = dict(names)
    module = names.get("__module__", "builtins")
    declared = {}
    fields = names.get("__fields__", ())
    if isinstance(fields, str):
        fields = fields.replace(",", " ").split()
    for field, annotation in dict(_annotations(names)).items():
        kind = _kind(annotation, module)
        if kind is not None:
            declared[field] = kind
    pairs = fields.items() if isinstance(fields, _abc.Mapping) else (
        f if isinstance(f, tuple) else (f, None) for f in fields)
    for field, annotation in pairs:
        kind = 0 if annotation is None else _kind(annotation, module)
        declared[field] = kind or 0
    rows = []
    for field, kind in declared.items():
        if not isinstance(field, str) or not field.isidentifier():
            raise TypeError(f"not a field name: {field!r}")
        for base in bases:
            if hasattr(base, field) and type(getattr(base, field)).__name__ == "Field":
                raise TypeError(f"field {field!r} is already declared in a base class")
        rows.append((field, kind, rest.pop(field) if field in rest else rows))
    rest["__slots__"] = ()
    return rest, rows


def signature_of(rows):
    """An inspect.Signature of a managed class with these (name, kind[, default]) fields."""
    import inspect
    empty = {0: None, _KINDS.index("f32"): 0.0, _KINDS.index("f64"): 0.0, _KINDS.index("b8"): False}
    return inspect.Signature([
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD,
                          default=default[0] if default else empty.get(kind, 0))
        for name, kind, *default in rows])


# ---- methods of the built-in managed types ------------------------------------------------------
# As those of list and dict they do not call methods that a subclass may have of its own.

def _short(value):
    """Fields of objects are not shown with what holds them: graphs have no end."""
    kind = type(value)
    return f"<{kind.__qualname__}>" if kind.__repr__ is _object_repr else repr(value)


def _object_repr(self):
    fields = self.__getstate__()
    inner = ", ".join(f"{name}={_short(value)}" for name, value in fields.items())
    return f"{type(self).__qualname__}({inner})"


def _object_reduce(self, protocol):
    return _copyreg.__newobj__, (type(self),), self.__getstate__()


@_reprlib.recursive_repr("[...]")
def _row_repr(self):
    base = List if isinstance(self, List) else Array
    return f"{type(self).__qualname__}([{', '.join(_short(v) for v in base.__iter__(self))}])"


def text_of_absent(kind, value):
    """What index() says; list's words, which differ between versions."""
    if kind == "array":
        return f"{value!r} is not in array"
    try:
        [].index(value)
    except ValueError as error:
        return str(error)


def _array_reduce(self, protocol):
    return _new_array, (type(self), len(self)), list(self)


def _new_array(cls, length):
    return cls._new(length)


def _array_setstate(self, state):
    self[:] = state


def raw_array(values, kind):
    """zgc.Array(values, zgc.f64)"""
    values = list(values)
    import zgc
    made = zgc.allocate(len(values), kind)
    made[:] = values
    return made


def _raw_repr(self):
    return f"RawArray({self.tolist()}, zgc.{_KINDS[self._kind()]})"


def _raw_reduce(self, protocol):
    return _new_raw, (_KINDS[self._kind()], bytes(memoryview(self).cast("B")) if len(self) else b"")


def _new_raw(name, data):
    import zgc
    kind = RAW[name]
    size = memoryview(zgc.allocate(0, kind)).itemsize
    made = zgc.allocate(len(data) // size, kind)
    if data:
        memoryview(made).cast("B")[:] = data
    return made


def _list_sort(self, *args, **kwargs):
    if args or not kwargs.keys() <= {"key", "reverse"}:
        [].sort(*args, **kwargs)            # raises, in the words of this version
    values = List.tolist(self)
    List.clear(self)                        # as list does: who looks meanwhile sees none
    try:
        values.sort(**kwargs)
    finally:
        modified = List.__len__(self) != 0
        List.__setitem__(self, slice(None), values)
    if modified:
        raise ValueError("list modified during sort")


def _state(self):
    return self.__getstate__() or None      # fields of a subclass


def _list_reduce(self, protocol):
    return _copyreg.__newobj__, (type(self),), _state(self), iter(list(self))


def _dict_init(self, /, *args, **kwargs):
    if len(args) > 1:
        raise TypeError(f"dict expected at most 1 argument, got {len(args)}")
    _dict_update(self, *args, **kwargs)


def _pairs(values):
    for i, pair in enumerate(values):
        try:
            pair = tuple(pair)
        except TypeError:
            dict([(0, 0)] * i + [pair])     # in the words of this version
            raise
        if len(pair) != 2:
            raise ValueError(f"dictionary update sequence element #{i} has length {len(pair)}; 2 is required")
        yield pair


def _dict_update(self, /, *args, **kwargs):
    if len(args) > 1:
        raise TypeError(f"update expected at most 1 argument, got {len(args)}")
    for other in args:
        _merge(self, other)
    if kwargs:
        Dict._merge(self, kwargs)


def _merge(self, other):
    if Dict._merge(self, other):
        return
    if hasattr(other, "keys"):
        for key in other.keys():
            Dict.__setitem__(self, key, other[key])
    else:
        for key, value in _pairs(other):
            Dict.__setitem__(self, key, value)


def text_of_unhashable(key, error):
    """What a dict says of a key without hash; the words differ between versions."""
    try:
        {}[[]]
    except TypeError as said:
        if "cannot use" not in str(said):
            return error
    kind = type(key)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return TypeError(f"cannot use {name!r} as a dict key ({error})")


_ABSENT = object()


class _View:
    __slots__ = ()

    def __len__(self):
        return Dict.__len__(self._mapping)

    mapping = property(lambda self: _types.MappingProxyType(self._mapping))

    def __repr__(self):
        return f"{type(self).__name__}([{', '.join(_short(item) for item in self)}])"


class _SetView(_View):
    """The operators as dict's views have them: with any iterable, and the same choice among equal elements."""

    __slots__ = ()

    def __and__(self, other):
        if type(other) is set and len(self) <= len(other):
            return other.intersection(self)
        if isinstance(other, _SET_VIEWS) and len(other) > len(self):
            self, other = other, self
        return {item for item in other if item in self}

    def __or__(self, other):
        return set(self).union(other)

    def __sub__(self, other):
        return set(self).difference(other)

    def __xor__(self, other):
        return set(self).symmetric_difference(other)

    def __rsub__(self, other):
        return set(other).difference(self)

    def __ror__(self, other):
        return set(other).union(self)

    def __rxor__(self, other):
        return set(other).symmetric_difference(self)

    __rand__ = __and__


class DictKeys(_SetView, _abc.KeysView):
    __slots__ = ()

    def __contains__(self, key):
        return Dict.__contains__(self._mapping, key)

    def __iter__(self):
        return self._mapping._iterate(0, 1)

    def __reversed__(self):
        return self._mapping._iterate(0, -1)


class DictItems(_SetView, _abc.ItemsView):
    __slots__ = ()

    def __contains__(self, item):
        """As dict's: what is no pair is not in it, and no __missing__ is asked."""
        if not isinstance(item, tuple) or len(item) != 2:
            return False
        found = Dict.get(self._mapping, item[0], _ABSENT)
        return found is not _ABSENT and (found is item[1] or bool(found == item[1]))

    def __iter__(self):
        return self._mapping._iterate(2, 1)

    def __reversed__(self):
        return self._mapping._iterate(2, -1)


_SET_VIEWS = DictKeys, DictItems, type({}.keys()), type({}.items())


class DictValues(_View, _abc.ValuesView):
    __slots__ = ()

    def __contains__(self, value):
        return any(found is value or found == value for found in self)

    def __iter__(self):
        return self._mapping._iterate(1, 1)

    def __reversed__(self):
        return self._mapping._iterate(1, -1)


def _dict_fromkeys(cls, *args, **kwargs):
    if kwargs or not 0 < len(args) < 3:
        dict.fromkeys(*args, **kwargs)      # raises, in the words of this version
    result = cls()
    for key in args[0]:
        result[key] = args[1] if len(args) > 1 else None
    return result


@_reprlib.recursive_repr("{...}")
def _dict_repr(self):
    inner = ", ".join(f"{_short(k)}: {_short(v)}" for k, v in Dict.items(self))
    return f"{type(self).__qualname__}({{{inner}}})"


def _dict_or(self, other):
    if not isinstance(other, (Dict, dict)):
        return NotImplemented
    result = Dict.copy(self)
    _merge(result, other)
    return result


def _dict_ror(self, other):
    if not isinstance(other, dict):
        return NotImplemented
    result = Dict(other)
    _merge(result, self)
    return result


def _dict_ior(self, other):
    _merge(self, other)
    return self


def _dict_reduce(self, protocol):
    return _copyreg.__newobj__, (type(self),), _state(self), None, iter(list(self.items()))


_row = {
    "__repr__": _row_repr,
    "__class_getitem__": classmethod(_types.GenericAlias),
}
_NAMESPACES = {
    "Object": {"__repr__": _object_repr, "__reduce_ex__": _object_reduce,
               "__reduce__": lambda self: self.__reduce_ex__(2),
               "__doc__": "Base of managed classes: fields are declared by annotations or __fields__."},
    "Array": {**_row, "__reduce_ex__": _array_reduce, "__setstate__": _array_setstate,
              "__doc__": "A managed sequence of fixed length."},
    "RawArray": {"__repr__": _raw_repr, "__reduce_ex__": _raw_reduce,
                 "kind": property(lambda self: RAW[_KINDS[self._kind()]]),
                 "__doc__": "A managed row of numbers, with the buffer protocol: see zgc.allocate(n, type)."},
    "List": {**_row, "__hash__": None, "sort": _list_sort, "__reduce_ex__": _list_reduce,
             "__doc__": "A managed list."},
    "Dict": {"__init__": _dict_init, "update": _dict_update,
             "fromkeys": classmethod(_dict_fromkeys),
             "__repr__": _dict_repr, "__hash__": None, "__or__": _dict_or,
             "__ror__": _dict_ror, "__ior__": _dict_ior,
             "__class_getitem__": classmethod(_types.GenericAlias), "__reduce_ex__": _dict_reduce,
             "__doc__": "A managed dict: ordered, keys by Python's hash and equality."},
}


def namespace_of(name):
    for key, value in _NAMESPACES[name].items():
        value = getattr(value, "__func__", value)           # of a class method
        if isinstance(value, _types.FunctionType) and value.__name__ not in _NAMESPACES[name]:
            value.__name__ = value.__qualname__ = key       # what tracebacks and TypeErrors call it
    return {"__slots__": (), "__module__": "zgc", **_NAMESPACES[name]}


def finish(names):
    """Called with the module's new names, once the types exist."""
    globals().update(names)
    _abc.MutableSequence.register(names["List"])
    _abc.Sequence.register(names["Array"])
    _abc.Sequence.register(names["RawArray"])
    _abc.MutableMapping.register(names["Dict"])
    names.update(RAW, _new_array=_new_array, _new_raw=_new_raw)


def stack_text():
    import traceback
    rows = traceback.extract_stack()[-6:-1]
    return " < ".join(f"{row.name} ({row.filename}:{row.lineno})" for row in reversed(rows))
