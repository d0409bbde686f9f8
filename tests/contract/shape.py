"""Shapes: which keys an answer has at every depth, independent of any expected value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

__all__ = ["Leaf", "Many", "Obj", "Shape", "assert_shape", "leaves", "maybe", "misfits", "sure"]


class Leaf(Enum):
    """A value without keys of its own. All but ID and FLAG may be null."""

    ID = "a string, never null"
    TEXT = "a string or null"
    NUMBER = "a number or null"
    FLAG = "0 or 1"
    BOOLEAN = "true, false or null"


@dataclass(frozen=True)
class Obj:
    """An object with exactly these keys."""

    keys: Mapping[str, Shape]
    nullable: bool = False


@dataclass(frozen=True)
class Many:
    """An array, perhaps empty, of one kind of element; never null."""

    item: Obj


Shape = Leaf | Obj | Many


def leaves(names: str, leaf: Leaf = Leaf.TEXT) -> dict[str, Shape]:
    """Several keys of one leaf, named in one text with blanks between them."""
    return dict.fromkeys(names.split(), leaf)


def maybe(shape: Obj) -> Obj:
    """The same object, or null."""
    return replace(shape, nullable=True)


def sure(shape: Obj) -> Obj:
    """The same object, never null."""
    return replace(shape, nullable=False)


def assert_shape(data: object, shape: Shape, fields: frozenset[str] | None = None) -> None:
    """Fail with every key too many or too few and every value of a wrong kind.

    `fields` are the names given in `fields_set`: they cut the top-level keys, of every element
    when data is an array, and leave deeper ones alone.
    """
    found = list(misfits(data, shape if fields is None else _cut(shape, fields)))
    assert not found, "\n".join(found)


def misfits(data: object, shape: Shape, path: str = "$.data") -> Iterator[str]:
    """Every place where data has another form than its shape."""
    if isinstance(shape, Leaf):
        if not _is_leaf(data, shape):
            yield f"{path}: {data!r} is not {shape.value}"
    elif isinstance(shape, Many):
        yield from _misfit_array(data, shape, path)
    elif not (data is None and shape.nullable):
        yield from _misfit_object(data, shape, path)


def _misfit_array(data: object, shape: Many, path: str) -> Iterator[str]:
    if not isinstance(data, list):
        yield f"{path}: {data!r} is not an array"
        return
    for place, element in enumerate(data):
        yield from misfits(element, shape.item, f"{path}[{place}]")


def _misfit_object(data: object, shape: Obj, path: str) -> Iterator[str]:
    if not isinstance(data, dict):
        yield f"{path}: {data!r} is not an object"
        return
    for key in sorted(data.keys() - shape.keys.keys()):
        yield f"{path}.{key}: no key of this object"
    for key, inner in shape.keys.items():
        if key in data:
            yield from misfits(data[key], inner, f"{path}.{key}")
        else:
            yield f"{path}.{key}: missing"


def _is_leaf(data: object, leaf: Leaf) -> bool:
    if leaf is Leaf.ID:
        return isinstance(data, str) and data != ""
    if leaf is Leaf.FLAG:
        return type(data) is int and data in (0, 1)
    kinds = {Leaf.TEXT: (str,), Leaf.NUMBER: (int, float), Leaf.BOOLEAN: (bool,)}[leaf]
    return data is None or type(data) in kinds


def _cut(shape: Shape, fields: frozenset[str]) -> Shape:
    if isinstance(shape, Many):
        return Many(_cut_object(shape.item, fields))
    return _cut_object(shape, fields) if isinstance(shape, Obj) else shape


def _cut_object(shape: Obj, fields: frozenset[str]) -> Obj:
    return replace(shape, keys={k: v for k, v in shape.keys.items() if k in fields})
