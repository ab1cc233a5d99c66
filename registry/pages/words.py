"""The words of the pages, in both languages."""

from __future__ import annotations

from typing import Final

WORDS: Final[dict[str, tuple[str, str]]] = {
    "directory": ("Directory", "ສາລະບານ"),
    "members": ("Members", "ສະມາຊິກ"),
    "member": ("Member", "ສະມາຊິກ"),
    "services": ("Services", "ບໍລິການ"),
    "service": ("Service", "ບໍລິການ"),
    "schemas": ("Schemas", "ແບບຂໍ້ມູນ"),
    "schema": ("Schema", "ແບບຂໍ້ມູນ"),
    "code_lists": ("Code lists", "ບັນຊີລະຫັດ"),
    "code_list": ("Code list", "ບັນຊີລະຫັດ"),
    "elements": ("Data elements", "ອົງປະກອບຂໍ້ມູນ"),
    "applications": ("Applications", "ແອັບພລິເຄຊັນ"),
    "servers": ("Servers", "ເຊີບເວີ"),
    "operations": ("Operations", "ຄຳສັ່ງ"),
    "operation": ("Operation", "ຄຳສັ່ງ"),
    "parameters": ("Parameters", "ພາຣາມິເຕີ"),
    "properties": ("Properties", "ລາຍການຂໍ້ມູນ"),
    "property": ("Property", "ຂໍ້ມູນ"),
    "definitions": ("Definitions", "ນິຍາມ"),
    "identifier": ("Identifier", "ລະຫັດ"),
    "name": ("Name", "ຊື່"),
    "description": ("Description", "ຄຳອະທິບາຍ"),
    "type": ("Type", "ຊະນິດ"),
    "required": ("Required", "ຈຳເປັນ"),
    "yes": ("yes", "ແມ່ນ"),
    "no": ("no", "ບໍ່"),
    "version": ("Version", "ສະບັບ"),
    "source": ("Source", "ແຫຼ່ງທີ່ມາ"),
    "codes": ("Codes", "ລະຫັດ"),
    "code": ("Code", "ລະຫັດ"),
    "valid_from": ("From", "ແຕ່"),
    "valid_until": ("Until", "ເຖິງ"),
    "definition": ("Definition", "ນິຍາມ"),
    "subject": ("Asked about", "ຖາມກ່ຽວກັບ"),
    "legal_basis": ("Legal basis", "ບ່ອນອີງທາງກົດໝາຍ"),
    "validity": ("An answer is good for", "ຄຳຕອບໃຊ້ໄດ້ພາຍໃນ"),
    "predicate_of": ("Tells of", "ບອກກ່ຽວກັບ"),
    "exceptions": ("Services that may ask people all the same", "ບໍລິການທີ່ຍັງຖາມປະຊາຊົນໄດ້"),
    "leads_to": ("Data elements, code lists and schemas", "ອົງປະກອບຂໍ້ມູນ, ບັນຊີລະຫັດ ແລະ ແບບຂໍ້ມູນ"),
    "given_by": ("Given by", "ຜູ້ໃຫ້ຂໍ້ມູນ"),
    "summary": ("What it does", "ເຮັດຫຍັງ"),
    "deprecated": ("Deprecated since", "ເລີກໃຊ້ນັບແຕ່"),
    "ends": ("may be gone from", "ອາດຖືກຖອນນັບແຕ່"),
    "successor": ("instead", "ໃຊ້ແທນ"),
    "other_language": ("ພາສາລາວ", "English"),
    "skip": ("To the content", "ໄປທີ່ເນື້ອໃນ"),
    "none": ("None.", "ບໍ່ມີ."),
}


def words(language: str) -> dict[str, str]:
    """Every word in one language."""
    place = 0 if language == "en" else 1
    return {key: pair[place] for key, pair in WORDS.items()}
