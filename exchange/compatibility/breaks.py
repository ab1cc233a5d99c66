"""Breaks: the places where a new version would surprise those who keep to the old one.

Every rule has a noun in both languages; the sentence around it says who would notice:

- *backward*: what was valid under the old version may be refused by the new one;
- *forward*: what is valid under the new version may be refused by a reader of the old one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from exchange.problems import Text


class Way(StrEnum):
    """Which versions must understand which: new reads old, old reads new, or both."""

    BACKWARD = "backward"
    FORWARD = "forward"
    FULL = "full"

    @property
    def ways(self) -> tuple[Way, ...]:
        """The one or two ways that this asks for."""
        return (Way.BACKWARD, Way.FORWARD) if self is Way.FULL else (self,)


@dataclass(frozen=True, slots=True)
class Break:
    """One breaking place.

    ``where`` is a JSON pointer into the document of the stricter version (backward: the new one,
    forward: the old one), or ``{$id}#{pointer}`` in a shared schema; ``rule`` the keyword or the
    rule of OpenAPI; ``subject`` the property, value or bound that it is about.
    """

    way: Way
    where: str
    rule: str
    subject: str = ""

    @property
    def why(self) -> Text:
        """The explanation, in both languages."""
        noun = RULES.get(self.rule, RULES["unknown"])
        named = f" ({self.subject})" if self.subject else ""
        backward = self.way is Way.BACKWARD
        return Text(
            f"{noun.en}{named}: {_BACKWARD.en if backward else _FORWARD.en}.",
            f"{noun.lo}{named}: {_BACKWARD.lo if backward else _FORWARD.lo}.",
        )

    def as_json(self) -> dict[str, Any]:
        """The members of a break in answers and in ``--json``."""
        why = self.why
        return {
            "way": self.way.value,
            "where": self.where,
            "rule": self.rule,
            "subject": self.subject,
            "why": why.as_dict(),
        }


def distinct(breaks: Iterable[Break]) -> tuple[Break, ...]:
    """Breaks in their order, each once."""
    return tuple(dict.fromkeys(breaks))


_BACKWARD: Final = Text(
    "what was valid under the old version may be refused by the new one",
    "ສິ່ງທີ່ຖືກຕ້ອງຕາມສະບັບເກົ່າ ອາດຖືກສະບັບໃໝ່ປະຕິເສດ",
)
_FORWARD: Final = Text(
    "what is valid under the new version may be refused by a reader of the old one",
    "ສິ່ງທີ່ຖືກຕ້ອງຕາມສະບັບໃໝ່ ອາດຖືກຜູ້ອ່ານທີ່ໃຊ້ສະບັບເກົ່າປະຕິເສດ",
)

RULES: Final[dict[str, Text]] = {
    # JSON Schema 2020-12
    "false": Text("nothing is allowed here", "ບ່ອນນີ້ບໍ່ອະນຸຍາດໃຫ້ມີຄ່າໃດ"),
    "type": Text("fewer types are allowed", "ອະນຸຍາດຊະນິດຂໍ້ມູນໜ້ອຍລົງ"),
    "enum": Text("the list of values lacks some", "ບັນຊີຄ່າຂາດບາງຄ່າ"),
    "const": Text("one value alone is allowed", "ອະນຸຍາດພຽງຄ່າດຽວ"),
    "minimum": Text("the least number is higher", "ຄ່າຕ່ຳສຸດສູງຂຶ້ນ"),
    "exclusiveMinimum": Text("the least number is higher", "ຄ່າຕ່ຳສຸດສູງຂຶ້ນ"),
    "maximum": Text("the greatest number is lower", "ຄ່າສູງສຸດຕ່ຳລົງ"),
    "exclusiveMaximum": Text("the greatest number is lower", "ຄ່າສູງສຸດຕ່ຳລົງ"),
    "multipleOf": Text("numbers come in other steps", "ຂັ້ນຂອງຈຳນວນປ່ຽນ"),
    "minLength": Text("texts must be longer", "ຂໍ້ຄວາມຕ້ອງຍາວຂຶ້ນ"),
    "maxLength": Text("texts must be shorter", "ຂໍ້ຄວາມຕ້ອງສັ້ນລົງ"),
    "pattern": Text(
        "the pattern differs, and whether it accepts the same texts cannot be told",
        "ຮູບແບບຂໍ້ຄວາມ (pattern) ປ່ຽນ ແລະ ບອກບໍ່ໄດ້ວ່າຍັງຮັບຂໍ້ຄວາມເດີມ",
    ),
    "format": Text("texts must keep a format", "ຂໍ້ຄວາມຕ້ອງຖືກຕາມຮູບແບບ (format)"),
    "items": Text("there may be fewer or other items", "ລາຍການອາດໜ້ອຍລົງ ຫຼື ເປັນຢ່າງອື່ນ"),
    "prefixItems": Text("the first items differ", "ລາຍການທຳອິດປ່ຽນ"),
    "minItems": Text("there must be more items", "ຕ້ອງມີລາຍການຫຼາຍຂຶ້ນ"),
    "maxItems": Text("there may be fewer items", "ມີລາຍການໄດ້ໜ້ອຍລົງ"),
    "uniqueItems": Text("items must differ from each other", "ລາຍການຕ້ອງບໍ່ຊ້ຳກັນ"),
    "contains": Text("some items must be of a kind", "ບາງລາຍການຕ້ອງເປັນຊະນິດທີ່ກຳນົດ"),
    "required": Text("a property is required", "ຕ້ອງມີຂໍ້ມູນນີ້"),
    "additionalProperties": Text(
        "a property is not declared, and others are not allowed or not of its kind",
        "ຂໍ້ມູນນີ້ບໍ່ໄດ້ກຳນົດໄວ້ ແລະ ບໍ່ອະນຸຍາດຂໍ້ມູນອື່ນ ຫຼື ຊະນິດບໍ່ກົງ",
    ),
    "patternProperties": Text("properties with names of a pattern differ", "ຂໍ້ມູນທີ່ຊື່ກົງກັບຮູບແບບປ່ຽນ"),
    "propertyNames": Text("names of properties are restricted", "ຊື່ຂອງຂໍ້ມູນຖືກຈຳກັດ"),
    "minProperties": Text("there must be more properties", "ຕ້ອງມີຂໍ້ມູນຫຼາຍຢ່າງຂຶ້ນ"),
    "maxProperties": Text("there may be fewer properties", "ມີຂໍ້ມູນໄດ້ໜ້ອຍຢ່າງລົງ"),
    "dependentRequired": Text("a property is required beside another", "ຕ້ອງມີຂໍ້ມູນນີ້ຄຽງຄູ່ກັບຂໍ້ມູນອື່ນ"),
    "dependentSchemas": Text("a property asks for more beside it", "ມີຂໍ້ມູນໜຶ່ງແລ້ວຕ້ອງມີເງື່ອນໄຂເພີ່ມ"),
    "anyOf": Text("no alternative takes it all", "ບໍ່ມີທາງເລືອກໃດຮັບໄດ້ທັງໝົດ"),
    "oneOf": Text(
        "not exactly one alternative takes it all, as far as can be told",
        "ເທົ່າທີ່ບອກໄດ້ ບໍ່ແມ່ນທາງເລືອກດຽວທີ່ຮັບໄດ້ທັງໝົດ",
    ),
    "not": Text("more is excluded, as far as can be told", "ເທົ່າທີ່ບອກໄດ້ ມີການຍົກເວັ້ນຫຼາຍຂຶ້ນ"),
    "if": Text("a condition differs, as far as can be told", "ເທົ່າທີ່ບອກໄດ້ ເງື່ອນໄຂປ່ຽນ"),
    "unevaluatedProperties": Text(
        "properties that no part declares are not allowed", "ບໍ່ອະນຸຍາດຂໍ້ມູນທີ່ບໍ່ມີສ່ວນໃດກຳນົດ"
    ),
    "unevaluatedItems": Text(
        "items that no part declares are not allowed", "ບໍ່ອະນຸຍາດລາຍການທີ່ບໍ່ມີສ່ວນໃດກຳນົດ"
    ),
    "$defs": Text("a part that others may refer to is gone", "ສ່ວນທີ່ແບບອື່ນອາດອ້າງອີງຖືກຖອນ"),
    "unknown": Text("whether this is compatible cannot be told", "ບອກບໍ່ໄດ້ວ່າສ່ວນນີ້ເຂົ້າກັນໄດ້ຫຼືບໍ່"),
    # OpenAPI
    "service": Text("the service is gone", "ບໍລິການຖືກຖອນ"),
    "operation": Text("an operation is gone", "ຄຳສັ່ງ (operation) ຖືກຖອນ"),
    "shadowed": Text("a path means another operation", "ເສັ້ນທາງນີ້ໝາຍເຖິງຄຳສັ່ງອື່ນ"),
    "parameter": Text("a parameter is gone", "ພາຣາມິເຕີຖືກຖອນ"),
    "parameter-required": Text("a parameter is required", "ຕ້ອງມີພາຣາມິເຕີນີ້"),
    "parameter-style": Text("a parameter is written otherwise", "ວິທີຂຽນພາຣາມິເຕີປ່ຽນ"),
    "strict-query": Text("parameters that are not declared are refused", "ປະຕິເສດພາຣາມິເຕີທີ່ບໍ່ໄດ້ກຳນົດ"),
    "request-body": Text("requests may have no body", "ຄຳຮ້ອງມີເນື້ອໃນບໍ່ໄດ້"),
    "request-body-required": Text("requests must have a body", "ຄຳຮ້ອງຕ້ອງມີເນື້ອໃນ"),
    "request-type": Text(
        "a media type of requests is not accepted", "ບໍ່ຮັບຊະນິດເນື້ອໃນ (media type) ຂອງຄຳຮ້ອງ"
    ),
    "answer": Text("there is an answer of another status", "ມີຄຳຕອບທີ່ມີສະຖານະອື່ນ"),
    "answer-body": Text("an answer may lack its body", "ຄຳຕອບອາດບໍ່ມີເນື້ອໃນ"),
    "answer-type": Text(
        "answers may have another media type", "ຄຳຕອບອາດມີຊະນິດເນື້ອໃນ (media type) ອື່ນ"
    ),
}
