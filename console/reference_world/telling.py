"""How the story is told: titles and lines, English with Lao. No step is made here."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal

import schemas
from console.reference_world.calls import Left
from console.reference_world.evidence import Proven, Verified
from console.reference_world.refusals import Refused
from console.reference_world.story import Agreements, Asked, Opened, Registered
from exchange.code_lists import parse_code_list
from exchange.problems import Text

STORY = Text("The reference world of Saphan", "ໂລກຕົວຢ່າງຂອງ ສະພານ")
TITLES = (
    Text("DGC opens the instance", "DGC ເປີດລະບົບແລກປ່ຽນຂໍ້ມູນ"),
    Text(
        "MPI and MOFA wrap their registers; DGC approves",
        "MPI ແລະ MOFA ເຊື່ອມຕໍ່ທະບຽນຂອງຕົນ; DGC ອະນຸມັດ",
    ),
    Text("Ministries seal agreements", "ບັນດາກະຊວງປະທັບຂໍ້ຕົກລົງ"),
    Text("MOF asks once, two sources answer", "MOF ຖາມຄັ້ງດຽວ, ສອງແຫຼ່ງຂໍ້ມູນຕອບ"),
    Text("What must fail, fails", "ສິ່ງທີ່ຕ້ອງຖືກປະຕິເສດ ກໍຖືກປະຕິເສດ"),
    Text("The State Inspection Authority proves it", "ອົງການກວດກາແຫ່ງລັດ ພິສູດ"),
)
VERIFICATION = Text("Every journal, verified from its files alone", "ກວດສອບບັນທຶກທັງໝົດຈາກໄຟລ໌ເທົ່ານັ້ນ")
_COLUMNS = ("Province, sector · ແຂວງ, ຂະແໜງການ", "ODA, USD", "INGO, USD", "Total · ລວມ")


def heading(number: int) -> str:
    """The title of a step."""
    title = TITLES[number - 1]
    return f"{number}  {title.en} · {title.lo}"


def tell_opened(opened: Opened) -> Iterator[str]:
    """Step 1."""
    yield f"Root of trust     {opened.root_of_trust}, signed by {opened.signatures_needed} keys"
    yield f"Registry          {opened.registry}, {opened.shared_schemas} shared schemas"
    yield f"Authorities       {opened.authorities} (development)"
    yield f"Time-stamps       {opened.timestamps} (RFC 3161), certificate listed in the registry"


def tell_registered(registered: Registered) -> Iterator[str]:
    """Step 2."""
    yield (
        f"Legacy registers  {registered.projects} aid projects, {registered.disbursements:,} "
        f"disbursements, {registered.ingo_projects} INGO projects (a workbook, a table of dBASE)"
    )
    for wrapped in registered.services:
        yield f"Service           {wrapped.service} · {wrapped.title.en} · {wrapped.title.lo}"
        yield f"                  {wrapped.mapping} → {wrapped.openapi.rpartition('/')[2]}"
    by_server: dict[str, list[str]] = {}
    for member in registered.members:
        by_server.setdefault(member.server, []).append(member.id.rpartition("/")[2])
    yield f"Approved by DGC   {len(registered.members)} members on {len(by_server)} servers:"
    for server, codes in by_server.items():
        yield f"                  {server}: {', '.join(codes)}"


def tell_agreements(sealed: Agreements) -> Iterator[str]:
    """Step 3."""
    for agreed in sealed.agreements:
        yield f"{agreed.id}: {agreed.provider} → {agreed.consumer}"
        yield f"  {agreed.title.en} · {agreed.title.lo}"
        yield f"  purpose       {agreed.purpose.en} · {agreed.purpose.lo}"
        yield f"  legal basis   {agreed.legal_basis.en} · {agreed.legal_basis.lo}"
        names = dict.fromkeys(field.rpartition("/")[2] for field in agreed.fields)
        yield f"  releases      {', '.join(names)}"
        yield (
            f"  quota         {agreed.quota_per_day:,} calls a day; "
            f"ends {agreed.valid_until[:10]}; sealed by both: {agreed.file}"
        )
    for file in sealed.mandates:
        yield f"Mandate of the State Inspection Authority · ການມອບໝາຍໃຫ້ອົງການກວດກາ: {file}"
    running = ", ".join(f"{server.id} (pid {server.pid})" for server in sealed.servers)
    yield f"Servers running: {running}"


def tell_asked(asked: Asked) -> Iterator[str]:
    """Step 4."""
    yield (
        f"Actual disbursement by province and sector, fiscal year {asked.fiscal_year}; "
        f"purpose {asked.purpose}"
    )
    for exchange in asked.exchanges:
        yield ""
        yield (
            f"{exchange.client} → {exchange.service}: {exchange.status}, {exchange.records} "
            f"records, {exchange.bytes:,} bytes in {exchange.took_ms:.0f} ms"
        )
        yield f"  message {exchange.message_id}, trace {exchange.trace}"
        yield from (f"  {line}" for line in _entries(exchange.entries))
    provinces, sectors = _code_list("province"), _code_list("sector-working-group")
    rows: list[tuple[str, ...]] = []
    for row in asked.top:
        province, sector = provinces[row.province], sectors[row.sector]
        amounts = _money(row.oda_usd), _money(row.ingo_usd), _money(row.total)
        rows.append((f"{province.en}, {sector.en}", *amounts))
        rows.append((f"  {province.lo}, {sector.lo}", "", "", ""))
    others = [row for row in asked.rows if row not in asked.top]
    if others:
        oda = sum((row.oda_usd for row in others), Decimal(0))
        ingo = sum((row.ingo_usd for row in others), Decimal(0))
        label = f"{len(others)} more · ອີກ {len(others)} ລາຍການ"
        rows.append((label, _money(oda), _money(ingo), _money(oda + ingo)))
    total = asked.oda_usd + asked.ingo_usd
    rows.append(("Total · ລວມ", _money(asked.oda_usd), _money(asked.ingo_usd), _money(total)))
    yield ""
    yield from _table(_COLUMNS, rows, numbers=3)
    yield ""
    yield "No enterprise is asked for what is registered · ບໍ່ຖາມວິສາຫະກິດໃນສິ່ງທີ່ຂຶ້ນທະບຽນແລ້ວ"
    for fact in asked.facts:
        yield f"  {fact.element}: {fact.value}"
        yield f"    {fact.source}, {fact.at}, holds until {fact.valid_until[:10]}"


def tell_refused(refused: Sequence[Refused]) -> Iterator[str]:
    """Step 5."""
    for each in refused:
        yield f"{each.title.en} · {each.title.lo}"
        yield f"  tried      {each.tried}"
        yield f"  stopped    {each.status} {each.code} at {each.where}: {each.said}"
        yield f"  remedy     {each.remedy.en}"
        yield f"             {each.remedy.lo}"
        yield from (f"  recorded   {line}" for line in _entries(each.entries))


def tell_proven(proven: Proven) -> Iterator[str]:
    """Step 6."""
    yield (
        f"Search     {len(proven.found)} entries of message {proven.exchange} in "
        f"{proven.journals_searched} journals; {proven.under_agreement} under the same agreement"
    )
    yield (f"           ຄົ້ນຫາ: ພົບ {len(proven.found)} ລາຍການ ໃນບັນທຶກ {proven.journals_searched} ສະບັບ")
    for hit in proven.found:
        entry = _entry(hit.journal, hit.index, hit.side, hit.kind, hit.status, hit.problem)
        yield f"           {entry}"
    exported = proven.exported
    yield (
        f"Export     {exported.folder}: {exported.entries} entries, {exported.opened} opened, "
        f"{exported.signatures} signatures verified offline"
    )
    yield f"           ສົ່ງອອກຫຼັກຖານ: ລາຍເຊັນຖືກຕ້ອງ {exported.signatures} ອັນ ກວດຈາກໄຟລ໌ເທົ່ານັ້ນ"
    for stamp in proven.stamps:
        yield f"Time       {stamp.journal}, {stamp.size} entries, existed at {stamp.time}"
        yield f"           ມີຢູ່ແລ້ວໃນເວລານັ້ນ; token checked: {stamp.token}"
    for answered in proven.asked:
        yield (
            f"Mandate    {answered.server} answers SIA under {answered.mandate}: "
            f"{answered.entries} entries, proven in its log of {answered.size}"
        )
    yield f"           ຖາມຜ່ານເຄືອຂ່າຍຕາມການມອບໝາຍ: {len(proven.asked)} ອົງການຕອບ ແລະ ພິສູດໄດ້"
    changed = proven.changed
    yield f"Tampering  one byte of a copy changed: {changed.copy}/{changed.file}"
    yield f"           ແກ້ໜຶ່ງໄບຕ໌ໃນສຳເນົາ: ການກວດສອບບອກວ່າ ລາຍການທີ {changed.index} ຖືກແກ້"
    yield f"           byte {changed.offset}, {changed.before} → {changed.after}"
    yield f"           the verification says: {changed.finding}"


def tell_verified(verified: Sequence[Verified]) -> Iterator[str]:
    """The end."""
    for each in verified:
        yield (
            f"GOOD · ຖືກຕ້ອງ  {each.server}: {each.entries} entries, root {each.root[:16]}…, "
            f"{each.opened} of {each.sealed} sealed parts opened, "
            f"{each.signatures} signatures verified"
        )
        yield f"      {each.journal}"


def _entries(entries: Sequence[Left]) -> Iterator[str]:
    for left in entries:
        entry = _entry(left.server, left.index, left.side, left.kind, left.status, left.problem)
        yield f"{left.at[11:23]}  {entry}"


def _entry(
    server: str, index: int, side: str, kind: str, status: int | None, problem: str | None
) -> str:
    outcome = "".join(f" {part}" for part in (status, problem) if part is not None)
    return f"{server} entry {index}: {side} {kind}{outcome}"


def _code_list(name: str) -> dict[str, Text]:
    """The names of the codes of a shared code list."""
    found = parse_code_list(schemas.load_code_list(name), f"code-lists/{name}.json")
    return {one.code: one.name for one in found.codes}


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int) -> Iterator[str]:
    """Aligned columns, the last ``numbers`` of them to the right."""
    widths = [max(columns_of(row[at]) for row in (columns, *rows)) for at in range(len(columns))]
    for row in (columns, *rows):
        cells = []
        for at, (text, width) in enumerate(zip(row, widths, strict=True)):
            blank = " " * (width - columns_of(text))
            cells.append(blank + text if at >= len(columns) - numbers else text + blank)
        yield "  ".join(cells).rstrip()


def columns_of(text: str) -> int:
    """Columns of a terminal: Lao vowels and tones above and below take none."""
    return sum(unicodedata.category(character) != "Mn" for character in text)
