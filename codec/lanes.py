"""Eight floats at once, for kernels: the compiler leaves loops as short as a row of a cell to the scalar unit.

Values of the type `eight` add, subtract and multiply with one another, lane by lane. What is built here are LLVM's own
vectors, which become the instructions of any machine. Memory goes by its address (floats, octets): nothing is checked.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba import types
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

WIDE = 8
_FLOAT, _INDEX = ir.FloatType(), ir.IntType(32)
_FLOATS, _OCTETS = types.CPointer(types.float32), types.CPointer(types.uint8)


class Eight(types.Type):
    """The type of eight floats."""

    def __init__(self):
        super().__init__("Eight")


eight = Eight()


@register_model(Eight)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.VectorType(_FLOAT, WIDE))


def _operator(symbol, name: str) -> None:
    @infer_global(symbol)
    class _Template(ConcreteTemplate):
        cases = (signature(eight, eight, eight),)

    @lower_builtin(symbol, eight, eight)
    def lower(context, builder, signature, args):
        return getattr(builder, name)(*args)


for _symbol, _name in zip(
    (operator.add, operator.iadd, operator.sub, operator.mul), ("fadd", "fadd", "fsub", "fmul"), strict=True
):
    _operator(_symbol, _name)


def _at(builder, address, place, element=_FLOAT, count: int = WIDE):
    return builder.bitcast(builder.gep(address, [place]), ir.VectorType(element, count).as_pointer())


def _lanes(places) -> ir.Constant:
    return ir.Constant(ir.VectorType(_INDEX, len(places)), list(places))


def _both(builder, a, b, symbol: str):
    return builder.select(builder.fcmp_ordered(symbol, a, b), a, b)


@intrinsic
def floats(typing, array):
    """The address of an array of float32."""

    def build(context, builder, signature, args):
        return context.make_array(signature.args[0])(context, builder, args[0]).data

    return _FLOATS(array), build


@intrinsic
def octets(typing, array):
    """The address of an array of uint8."""

    def build(context, builder, signature, args):
        return context.make_array(signature.args[0])(context, builder, args[0]).data

    return _OCTETS(array), build


@intrinsic
def splat(typing, number):
    """A float32, eight times."""

    def build(context, builder, signature, args):
        vector = ir.VectorType(_FLOAT, WIDE)
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), args[0], _INDEX(0))
        return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), _lanes([0] * WIDE))

    return eight(types.float32), build


@intrinsic
def load(typing, address, place):
    """address[place : place + 8]."""

    def build(context, builder, signature, args):
        return builder.load(_at(builder, *args), align=4)

    return eight(_FLOATS, types.int64), build


@intrinsic
def load_octets(typing, address, place):
    """The same of uint8."""

    def build(context, builder, signature, args):
        values = builder.load(_at(builder, *args, ir.IntType(8)), align=1)
        return builder.uitofp(values, ir.VectorType(_FLOAT, WIDE))

    return eight(_OCTETS, types.int64), build


@intrinsic
def load_by_turns(typing, address, place, other):
    """Four floats at a place and four at another, by turns."""

    def build(context, builder, signature, args):
        address, *places = args
        a, b = (builder.load(_at(builder, address, place, count=4), align=4) for place in places)
        return builder.shuffle_vector(a, b, _lanes([0, 4, 1, 5, 2, 6, 3, 7]))

    return eight(_FLOATS, types.int64, types.int64), build


@intrinsic
def store(typing, value, address, place):
    """address[place : place + 8] = value."""

    def build(context, builder, signature, args):
        value, address, place = args
        builder.store(value, _at(builder, address, place), align=4)
        return context.get_dummy_value()

    return types.void(eight, _FLOATS, types.int64), build


@intrinsic
def store_by_turns(typing, value, address, place, other):
    """The inverse of load_by_turns."""

    def build(context, builder, signature, args):
        value, address, *places = args
        for first, place in enumerate(places):
            part = builder.shuffle_vector(value, value, _lanes(range(first, WIDE, 2)))
            builder.store(part, _at(builder, address, place, count=4), align=4)
        return context.get_dummy_value()

    return types.void(eight, _FLOATS, types.int64, types.int64), build


@intrinsic
def clip(typing, value, low, high):
    """Lane by lane, the value between two others."""

    def build(context, builder, signature, args):
        value, low, high = args
        return _both(builder, _both(builder, value, high, "<"), low, ">")

    return eight(eight, eight, eight), build


@intrinsic
def magnitude(typing, value):
    """Lane by lane, without sign."""

    def build(context, builder, signature, args):
        return _both(builder, args[0], builder.fneg(args[0]), ">")

    return eight(eight), build


@intrinsic
def total(typing, value):
    """The sum of all lanes, in order."""

    def build(context, builder, signature, args):
        lanes = [builder.extract_element(args[0], _INDEX(n)) for n in range(WIDE)]
        out = lanes[0]
        for lane in lanes[1:]:
            out = builder.fadd(out, lane)
        return out

    return types.float32(eight), build
