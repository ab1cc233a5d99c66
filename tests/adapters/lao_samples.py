"""Lao and other text for the tests of adapters/text."""

from __future__ import annotations

# Article 1 of the Universal Declaration of Human Rights; none of it is in the detector's model.
LAO = (
    "ມະນຸດເກີດມາມີສິດເສລີພາບ ແລະ ສະເໝີໜ້າກັນໃນທາງກຽດສັກສີ ແລະ ທາງສິດດ້ວຍມະນຸດມີສະຕິສຳປັດຊັນຍະ"
    " ແລະ ມີມະໂນທຳຈຶ່ງຕ້ອງປະພຶດຕົນຕໍ່ກັນໃນທາງພີ່ນ້ອງ"
)
NAMES = (
    "ທ້າວ ສົມພອນ ວົງສາ\nນາງ ບຸນມີ ພົມມະຈັນ\nທ່ານ ຄຳຫຼ້າ ໄຊຍະວົງ\nນາງ ມະນີວັນ ສີສຸພັນ\n"
    "ບ້ານໂພນສີນວນ ເມືອງສີສັດຕະນາກ ນະຄອນຫຼວງວຽງຈັນ\n"
)
THAI = (
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม "
    "กรุงเทพมหานครเป็นเมืองหลวงและนครที่มีประชากรมากที่สุดของประเทศไทย เป็นศูนย์กลางการปกครอง "
    "การศึกษา การคมนาคมขนส่ง ตั้งอยู่บนสามเหลี่ยมปากแม่น้ำเจ้าพระยา นายสมชาย ใจดี "
    "นางสาวสุดา แก้วมณี บ้านเลขที่ หมู่ ตำบลในเมือง อำเภอเมือง จังหวัดหนองคาย"
)
FRENCH = (
    "Les élèves français étaient déjà à l'école ; où êtes-vous ? Forêt, hôtel, Noël, cœur, naïf. "
    "Ça va « très bien » là-bas. Tous les êtres humains naissent libres et égaux en dignité."
)
VIETNAMESE = (
    "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi. Mọi con người "
    "đều được tạo hóa ban cho lý trí và lương tâm và cần phải đối xử với nhau trong tình bằng hữu."
)
ENGLISH = "All human beings are born free \u2013 \u201cthe na\u00efve caf\u00e9\u201d isn\u2019t."
