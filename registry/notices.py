"""What a member is told of its requests, in both languages."""

from __future__ import annotations

from exchange.problems import Text
from registry.lifecycle import Act, Kind

_KINDS = {
    Kind.FIRST: Text("registration", "ການລົງທະບຽນ"),
    Kind.KEYS: Text("change of keys", "ການປ່ຽນກະແຈ"),
    Kind.UPDATE: Text("change", "ການປ່ຽນແປງ"),
    Kind.OWN: Text("proposal", "ຂໍ້ສະເໜີ"),
    Kind.DISABLE: Text("disabling", "ການປິດ"),
    Kind.ENABLE: Text("enabling", "ການເປີດຄືນ"),
    Kind.DELETE: Text("deletion", "ການລຶບ"),
    Kind.MERGE: Text("merger", "ການລວມ"),
}
_ACTS = {
    Act.APPROVE: Text("was approved by one more person", "ໄດ້ຮັບການອະນຸມັດຈາກອີກຜູ້ໜຶ່ງ"),
    Act.PUBLISH: Text("is published", "ໄດ້ຖືກເຜີຍແຜ່ແລ້ວ"),
    Act.DECLINE: Text("was declined", "ຖືກປະຕິເສດ"),
    Act.WITHDRAW: Text("was withdrawn", "ຖືກຖອນຄືນ"),
    Act.REPLACE: Text("was replaced by a newer one", "ຖືກແທນທີ່ດ້ວຍສະບັບໃໝ່"),
    Act.REVOKE: Text("was revoked", "ຖືກຍົກເລີກ"),
}


def notice_text(number: int, kind: Kind, subject: str, act: Act, reason: str) -> Text:
    """What a member reads of an act on a request of its own."""
    what, done = _KINDS[kind], _ACTS[act]
    because = f": {reason}" if reason else ""
    return Text(
        f"Request {number}, {what.en} of {subject}, {done.en}{because}.",
        f"ຄຳຂໍທີ {number}, {what.lo} {subject}, {done.lo}{because}.",
    )
