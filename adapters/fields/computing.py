"""Values made of other values of the row, by a small closed set of operations.

There is no language here that evaluates anything: an operation has named inputs, each a field that
is read as it would be answered, and what it gives is then read by the computed field's own type.
Nulls: ``concat`` passes over them, ``coalesce`` is what they are for, and of every other operation
the result is null when an input is. Arithmetic is exact; only a division may be rounded, as the
field says.
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

from adapters.fields.units import Rounding
from adapters.fields.words import Emit, Kind, Mismatch

if TYPE_CHECKING:
    from adapters.fields.model import Field

HOLE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.]*)\}", re.ASCII)
"""The place of a field in a template."""
_EXACT: Final = decimal.Context(
    prec=250,
    traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow, decimal.DivisionByZero],
)
_ROUNDED: Final = decimal.Context(
    prec=250, traps=[decimal.InvalidOperation, decimal.Overflow, decimal.DivisionByZero]
)


class Operation(StrEnum):
    """What is done with the inputs."""

    CONCAT = "concat"
    TEMPLATE = "template"
    COALESCE = "coalesce"
    CONSTANT = "constant"
    ADD = "add"
    SUBTRACT = "subtract"
    MULTIPLY = "multiply"
    DIVIDE = "divide"
    YEAR = "year"
    LOOKUP = "lookup"
    EQUALS = "equals"


ARITHMETIC: Final = (Operation.ADD, Operation.SUBTRACT, Operation.MULTIPLY, Operation.DIVIDE)


@dataclass(frozen=True, slots=True)
class Computation:
    """An operation on fields of the same row.

    ``text`` is the separator of ``concat``, the text of ``template`` and ``constant``, and the word
    that ``equals`` compares with.
    """

    operation: Operation
    inputs: tuple[Field, ...] = ()
    text: str = ""
    rounding: Rounding = Rounding.REFUSE

    @property
    def columns(self) -> tuple[str, ...]:
        """What must be read of the row, in the order in which the reader wants it."""
        return tuple(one.column for one in self.inputs)

    def reader(self) -> Callable[[Sequence[Any]], Any]:
        """A function from the columns' values to the value; it raises :class:`Mismatch`."""
        # Decimals as texts: as numbers they are written already.
        inputs = [(one, replace(one, emit=Emit.STRING).converter()) for one in self.inputs]
        compute = self._computer()

        def read(values: Sequence[Any]) -> Any:
            found = []
            for (one, convert), value in zip(inputs, values, strict=True):
                try:
                    found.append(convert(value))
                except Mismatch as mismatch:
                    raise mismatch.of(one.name) from mismatch
            return compute(found)

        return read

    def _computer(self) -> Callable[[list[Any]], Any]:
        text = self.text
        match self.operation:
            case Operation.CONCAT:
                return lambda found: _joined(found, text)
            case Operation.TEMPLATE:
                return _template(text, [one.name for one in self.inputs])
            case Operation.COALESCE:
                return lambda found: next((one for one in found if one is not None), None)
            case Operation.CONSTANT:
                return lambda found: text
            case Operation.YEAR:
                return lambda found: None if found[0] is None else int(found[0][:4])
            case Operation.LOOKUP:
                return lambda found: found[0]
            case Operation.EQUALS:
                return lambda found: None if found[0] is None else _word(found[0]) == text
            case operation:
                return _arithmetic(operation, self.rounding)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _joined(found: list[Any], separator: str) -> str | None:
    words = [_word(one) for one in found if one is not None]
    return separator.join(words) if words else None


def _template(text: str, names: list[str]) -> Callable[[list[Any]], str | None]:
    places = {name: index for index, name in enumerate(names)}

    def fill(found: list[Any]) -> str | None:
        if any(one is None for one in found):
            return None
        return HOLE.sub(lambda hole: _word(found[places[hole[1]]]), text)

    return fill


def _arithmetic(operation: Operation, rounding: Rounding) -> Callable[[list[Any]], Decimal | None]:
    context = _EXACT if rounding is Rounding.REFUSE else _ROUNDED
    step = {
        Operation.ADD: _EXACT.add,
        Operation.SUBTRACT: _EXACT.subtract,
        Operation.MULTIPLY: _EXACT.multiply,
        Operation.DIVIDE: context.divide,
    }[operation]

    def compute(found: list[Any]) -> Decimal | None:
        if any(one is None for one in found):
            return None
        try:
            return reduce(step, (Decimal(one) for one in found))
        except decimal.DivisionByZero as error:
            raise Mismatch("must not divide by zero", found[-1]) from error
        except ArithmeticError as error:
            raise Mismatch("must have an exact result, or say how it is rounded", None) from error

    return compute


def takes(operation: Operation, target: Kind, source: Kind) -> bool:
    """Whether ``operation`` can make a value of the type ``target`` from one of ``source``."""
    match operation:
        case Operation.CONCAT | Operation.TEMPLATE:
            return target is Kind.STRING
        case Operation.COALESCE:
            return source is target or (target is Kind.STRING and source is Kind.ENUMERATION)
        case Operation.YEAR:
            return target is Kind.INTEGER and source in (Kind.DATE, Kind.DATETIME)
        case Operation.LOOKUP:
            words = (Kind.STRING, Kind.INTEGER, Kind.ENUMERATION)
            return target is Kind.ENUMERATION and source in words
        case Operation.EQUALS:
            return target is Kind.BOOLEAN and source is not Kind.DECIMAL
        case _:
            numbers = (Kind.INTEGER, Kind.DECIMAL)
            return target in numbers and source in numbers
