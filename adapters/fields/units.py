"""Numbers kept in another unit: ``answer = stored × factor + offset``, exactly, then rounded if
the mapping says how.

Invariant: nothing is rounded unless the mapping states it, and no digit is lost on the way: the
arithmetic traps what it could not keep.
"""

from __future__ import annotations

import decimal
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

_EXACT: Final = decimal.Context(
    prec=250,
    traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow, decimal.DivisionByZero],
)
_MOST_DIGITS_BACK: Final = 15


class Rounding(StrEnum):
    """What becomes of digits behind the scale."""

    REFUSE = "refuse"
    HALF_UP = "half_up"
    HALF_EVEN = "half_even"
    DOWN = "down"

    def to(self, number: Decimal, scale: int) -> Decimal:
        """``number`` with ``scale`` decimals.

        Raises:
            decimal.Inexact: when it has more and the rounding refuses that.
            decimal.InvalidOperation: when it has too many digits.
        """
        step = Decimal(1).scaleb(-scale)
        if self is Rounding.REFUSE:
            return number.quantize(step, context=_EXACT)
        return number.quantize(step, rounding=_MODES[self], context=_LOSSY)


_LOSSY: Final = decimal.Context(prec=250, traps=[decimal.InvalidOperation])
_MODES: Final = {
    Rounding.HALF_UP: decimal.ROUND_HALF_UP,
    Rounding.HALF_EVEN: decimal.ROUND_HALF_EVEN,
    Rounding.DOWN: decimal.ROUND_DOWN,
}


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a column; ``factor`` is above zero, so that the order of values stays."""

    factor: Decimal = Decimal(1)
    offset: Decimal = Decimal(0)

    def outward(self, stored: Decimal) -> Decimal:
        """What is answered for ``stored``.

        Raises:
            decimal.Inexact: when it has too many digits.
        """
        return _EXACT.add(_EXACT.multiply(stored, self.factor), self.offset)

    def inward(self, answered: Decimal) -> Decimal:
        """The stored number that is answered as ``answered``, where :attr:`turns_back`.

        Raises:
            decimal.Inexact: when it has too many digits.
        """
        return _EXACT.divide(_EXACT.subtract(answered, self.offset), self.factor)

    @property
    def turns_back(self) -> bool:
        """Whether every number has exactly one stored form, of not many more digits."""
        try:
            back = _EXACT.divide(Decimal(1), self.factor)
        except decimal.Inexact:
            return False
        return len(back.as_tuple().digits) <= _MOST_DIGITS_BACK
