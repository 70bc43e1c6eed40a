"""The part of managed objects that need not be fast. Compiled into the library, run when the first
managed type is used; its names are looked up by the C sources."""

import copyreg as _copyreg
import operator as _operator
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

def _short(value):
    kind = type(value)
    if isinstance(kind, type) and kind.__class__.__name__ == "ObjectType":
        return f"<{kind.__qualname__}>"
    return repr(value)


def _object_repr(self):
    fields = self.__getstate__()
    inner = ", ".join(f"{name}={_short(value)}" for name, value in fields.items())
    return f"{type(self).__qualname__}({inner})"


def _object_reduce(self, protocol):
    return _copyreg.__newobj__, (type(self),), self.__getstate__()


def _row_repr(self):
    return f"{type(self).__qualname__}([{', '.join(_short(v) for v in self)}])"


def _check_slice(self, key):
    if not isinstance(key, slice):
        kind = "list" if hasattr(self, "_truncate") else "array"
        raise TypeError(f"{kind} indices must be integers or slices, not {type(key).__name__}")


def row_slice(self, key):
    _check_slice(self, key)
    indices = range(*key.indices(len(self)))
    return type(self)([self[i] for i in indices])


def row_set_slice(self, key, values):
    _check_slice(self, key)
    if not hasattr(values, "__iter__") and not hasattr(values, "__getitem__"):
        raise TypeError("can only assign an iterable")
    values = list(values)
    indices = range(*key.indices(len(self)))
    if len(values) == len(indices):
        for i, value in zip(indices, values):
            self[i] = value
        return
    if not hasattr(self, "_truncate"):
        raise ValueError(f"cannot change the length of an Array: {len(indices)} elements, "
                         f"{len(values)} values")
    if key.step not in (None, 1):
        raise ValueError(f"attempt to assign sequence of size {len(values)} to extended slice of "
                         f"size {len(indices)}")
    self._splice(indices.start, max(indices.start, indices.stop), values)


def row_delete(self, key):
    if not hasattr(self, "_truncate"):
        raise TypeError("elements of an Array cannot be deleted")
    if isinstance(key, slice):
        gone = range(*key.indices(len(self)))
        if gone and gone.step != 1:
            first = min(gone)
            self._splice(first, len(self), [self[i] for i in range(first, len(self)) if i not in gone])
        elif gone:
            self._splice(gone.start, gone.stop, [])
        return
    if not hasattr(key, "__index__"):
        _check_slice(self, key)
    try:
        self.pop(key)
    except IndexError:
        raise IndexError("list assignment index out of range") from None


def _array_reduce(self, protocol):
    return _new_array, (type(self), len(self)), list(self)


def _new_array(cls, length):
    return cls._new(length)


def _array_setstate(self, state):
    self[:] = state


def _list_init(self, iterable=(), /):
    self._truncate(0)
    self.extend(iterable)


def _list_insert(self, index, value, /):
    self._insert(index, value)


def _list_clear(self):
    self._truncate(0)


def _list_copy(self):
    return type(self)(self)


def _list_remove(self, value, /):
    for i, item in enumerate(self):
        if item is value or item == value:
            del self[i]
            return
    raise ValueError("list.remove(x): x not in list")


def _list_sort(self, *, key=None, reverse=False):
    values = list(self)
    self._truncate(0)                       # as list does: who looks meanwhile sees none
    try:
        values.sort(key=key, reverse=reverse)
    finally:
        modified = len(self) != 0
        self[:] = values
    if modified:
        raise ValueError("list modified during sort")


def _list_eq(self, other):
    if self is other:
        return True
    if not isinstance(other, (type(self), List, list)):
        return NotImplemented
    return len(self) == len(other) and all(a is b or a == b for a, b in zip(self, other))


def _list_order(compare):
    def method(self, other):
        if not isinstance(other, (List, list)):
            return NotImplemented
        return compare(list(self), list(other))
    method.__name__ = method.__qualname__ = f"__{compare.__name__}__"
    return method


def _list_add(self, other):
    if not isinstance(other, (List, list)):
        return NotImplemented
    result = type(self)(self)
    result.extend(other)
    return result


def _list_radd(self, other):
    if not isinstance(other, list):
        return NotImplemented
    result = type(self)(other)
    result.extend(self)
    return result


def _list_iadd(self, other):
    self.extend(other)
    return self


def _times(times):
    if not hasattr(times, "__index__"):
        raise TypeError(f"can't multiply sequence by non-int of type {type(times).__name__!r}")
    return _operator.index(times)


def _list_mul(self, times):
    times = _times(times)
    result = type(self)()
    values = list(self)
    for _ in range(times):
        result.extend(values)
    return result


def _list_imul(self, times):
    times = _times(times)
    values = list(self)
    if times <= 0:
        self._truncate(0)
    for _ in range(times - 1):
        self.extend(values)
    return self


def _state(self):
    return self.__getstate__() or None      # fields of a subclass


def _list_reduce(self, protocol):
    return _copyreg.__newobj__, (type(self),), _state(self), iter(list(self))


def _row_contains(self, value, /):
    return any(item is value or item == value for item in self)


def _row_count(self, value, /):
    return sum(1 for item in self if item is value or item == value)


def _row_index(self, value, start=0, stop=_sys.maxsize, /):
    size = len(self)
    i = start if start >= 0 else max(start + size, 0)
    stop = stop if stop >= 0 else max(stop + size, 0)
    while i < stop and i < len(self):       # a comparison may change the length
        item = self[i]
        if item is value or item == value:
            return i
        i += 1
    raise ValueError(f"{value!r} is not in {'list' if hasattr(self, '_truncate') else 'array'}")


def _row_reversed(self):
    for i in range(len(self) - 1, -1, -1):
        if i >= len(self):
            return
        yield self[i]


def _list_reverse(self):
    self[:] = list(self)[::-1]


def _dict_init(self, /, *args, **kwargs):
    _dict_update(self, *args, **kwargs)


def _pairs(values):
    for i, pair in enumerate(values):
        try:
            pair = tuple(pair)
        except TypeError:
            raise TypeError(f"cannot convert dictionary update sequence element #{i} to a sequence") from None
        if len(pair) != 2:
            raise ValueError(f"dictionary update sequence element #{i} has length {len(pair)}; 2 is required")
        yield pair


def _dict_update(self, /, *args, **kwargs):
    if len(args) > 1:
        raise TypeError(f"dict expected at most 1 argument, got {len(args)}")
    for other in args:
        if isinstance(other, Dict) and type(other).__getitem__ is Dict.__getitem__:
            for key, value in _dict_entries(other):
                self[key] = value
        elif isinstance(other, _abc.Mapping) or hasattr(other, "keys"):
            for key in other.keys():
                self[key] = other[key]
        else:
            for key, value in _pairs(other):
                self[key] = value
    for key, value in kwargs.items():
        self[key] = value


def _dict_eq(self, other):
    if self is other:
        return True
    if not isinstance(other, (Dict, dict)):
        return NotImplemented
    if len(self) != len(other):
        return False
    missing = object()
    for key, value in self.items():
        found = other.get(key, missing)
        if found is not value and (found is missing or found != value):
            return False
    return True


def _dict_setdefault(self, key, default=None, /):
    missing = _dict_setdefault
    found = self.get(key, missing)
    if found is missing:
        self[key] = found = default
    return found


_MISSING = object()


def _dict_pop(self, key, default=_MISSING, /):
    found = self.get(key, _MISSING)
    if found is _MISSING:
        if default is _MISSING:
            raise KeyError(key)
        return default
    del self[key]
    return found


def _dict_popitem(self):
    found = self._last()
    if found is None:
        raise KeyError("popitem(): dictionary is empty")
    del self[found[0]]
    return found


def _dict_entries(self):
    """(key, value) in order; complains when the keys change meanwhile."""
    position, left, size = 0, len(self), len(self)
    while True:
        found = self._next(position)
        if found is None:
            return
        if left == 0:
            raise RuntimeError("dictionary keys changed during iteration")
        position, key, value = found
        left -= 1
        yield key, value
        if len(self) != size:
            raise RuntimeError("dictionary changed size during iteration")


def _dict_entries_reversed(self):
    return reversed(list(_dict_entries(self)))


def _dict_iter(self):
    for key, _ in _dict_entries(self):
        yield key


def _dict_reversed(self):
    return (key for key, _ in _dict_entries_reversed(self))


class _View:
    __slots__ = ()

    mapping = property(lambda self: _types.MappingProxyType(self._mapping))

    def __repr__(self):
        return f"{type(self).__name__}([{', '.join(_short(item) for item in self)}])"


class DictKeys(_View, _abc.KeysView):
    __slots__ = ()

    def __reversed__(self):
        return _dict_reversed(self._mapping)


class DictItems(_View, _abc.ItemsView):
    __slots__ = ()

    def __iter__(self):
        return _dict_entries(self._mapping)

    def __reversed__(self):
        return _dict_entries_reversed(self._mapping)


class DictValues(_View, _abc.ValuesView):
    __slots__ = ()

    def __iter__(self):
        for _, value in _dict_entries(self._mapping):
            yield value

    def __reversed__(self):
        return (value for _, value in _dict_entries_reversed(self._mapping))


def _dict_copy(self):
    return type(self)(self)


def _dict_fromkeys(cls, iterable, value=None):
    result = cls()
    for key in iterable:
        result[key] = value
    return result


def _dict_repr(self):
    inner = ", ".join(f"{_short(k)}: {_short(v)}" for k, v in self.items())
    return f"{type(self).__qualname__}({{{inner}}})"


def _dict_or(self, other):
    if not isinstance(other, (Dict, dict)):
        return NotImplemented
    result = type(self)(self)
    result.update(other)
    return result


def _dict_ror(self, other):
    if not isinstance(other, dict):
        return NotImplemented
    result = type(self)(other)
    result.update(self)
    return result


def _dict_ior(self, other):
    self.update(other)
    return self


def _dict_reduce(self, protocol):
    return _copyreg.__newobj__, (type(self),), _state(self), None, iter(list(self.items()))


_row = {
    "__repr__": _row_repr,
    "__contains__": _row_contains,
    "__reversed__": _row_reversed,
    "index": _row_index,
    "count": _row_count,
    "__class_getitem__": classmethod(_types.GenericAlias),
}
_NAMESPACES = {
    "Object": {"__repr__": _object_repr, "__reduce_ex__": _object_reduce,
               "__reduce__": lambda self: self.__reduce_ex__(2),
               "__doc__": "Base of managed classes: fields are declared by annotations or __fields__."},
    "Array": {**_row, "__reduce_ex__": _array_reduce, "__setstate__": _array_setstate,
              "__doc__": "A managed sequence of fixed length."},
    "List": {**_row, "__init__": _list_init, "insert": _list_insert,
             "clear": _list_clear, "copy": _list_copy, "remove": _list_remove,
             "sort": _list_sort, "reverse": _list_reverse, "__eq__": _list_eq,
             **{f"__{order.__name__}__": _list_order(order)
                for order in (_operator.lt, _operator.le, _operator.gt, _operator.ge)},
             "__hash__": None, "__add__": _list_add, "__radd__": _list_radd, "__iadd__": _list_iadd,
             "__mul__": _list_mul, "__rmul__": _list_mul, "__imul__": _list_imul,
             "__reduce_ex__": _list_reduce, "__doc__": "A managed list."},
    "Dict": {"__init__": _dict_init, "update": _dict_update, "setdefault": _dict_setdefault,
             "pop": _dict_pop, "popitem": _dict_popitem, "__iter__": _dict_iter,
             "__reversed__": _dict_reversed, "keys": lambda self: DictKeys(self),
             "items": lambda self: DictItems(self), "values": lambda self: DictValues(self),
             "copy": _dict_copy, "fromkeys": classmethod(_dict_fromkeys),
             "__repr__": _dict_repr, "__eq__": _dict_eq, "__hash__": None, "__or__": _dict_or,
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
    _abc.MutableMapping.register(names["Dict"])
    names.update(RAW, _new_array=_new_array)


def stack_text():
    import traceback
    rows = traceback.extract_stack()[-6:-1]
    return " < ".join(f"{row.name} ({row.filename}:{row.lineno})" for row in reversed(rows))
