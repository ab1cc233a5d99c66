"""The codes and words that the legacy systems of the reference world use.

They are deliberately not the shared code lists: each register has its own, as real ones do, and the
mappings translate them.
"""

from __future__ import annotations

from typing import NamedTuple


class Named(NamedTuple):
    """A code with its names."""

    code: str
    english: str
    lao: str


# Old three-letter codes of ODA-MIS, in the order of the provinces' official numbers.
PROVINCES = (
    Named("VTC", "Vientiane Capital", "ນະຄອນຫຼວງວຽງຈັນ"),
    Named("PSL", "Phongsaly", "ຜົ້ງສາລີ"),
    Named("LNT", "Luang Namtha", "ຫຼວງນ້ຳທາ"),
    Named("ODX", "Oudomxay", "ອຸດົມໄຊ"),
    Named("BKO", "Bokeo", "ບໍ່ແກ້ວ"),
    Named("LPB", "Luang Prabang", "ຫຼວງພະບາງ"),
    Named("HPN", "Houaphanh", "ຫົວພັນ"),
    Named("XYB", "Xayabury", "ໄຊຍະບູລີ"),
    Named("XKH", "Xiengkhouang", "ຊຽງຂວາງ"),
    Named("VTP", "Vientiane Province", "ແຂວງວຽງຈັນ"),
    Named("BKX", "Bolikhamxay", "ບໍລິຄຳໄຊ"),
    Named("KMN", "Khammouane", "ຄຳມ່ວນ"),
    Named("SVK", "Savannakhet", "ສະຫວັນນະເຂດ"),
    Named("SLV", "Salavan", "ສາລະວັນ"),
    Named("SKG", "Sekong", "ເຊກອງ"),
    Named("CPS", "Champasack", "ຈຳປາສັກ"),
    Named("ATP", "Attapeu", "ອັດຕະປື"),
    Named("XSB", "Xaysomboun", "ໄຊສົມບູນ"),
)
# What people typed into the free-text list of a project's provinces.
PROVINCE_SPELLINGS = {
    "VTC": ("VTC", "Vientiane Cap.", "ນວ"),
    "LPB": ("LPB", "Luangprabang", "ຫຼວງພະບາງ"),
    "CPS": ("CPS", "Champasak"),
    "SVK": ("SVK", "Savannakhet"),
    "XYB": ("XYB", "Sayaboury"),
}

SECTORS = (
    Named("SWG01", "health", "ສາທາລະນະສຸກ"),
    Named("SWG02", "education", "ການສຶກສາ"),
    Named("SWG03", "governance", "ການປົກຄອງ"),
    Named("SWG04", "macroeconomics", "ເສດຖະກິດມະຫາພາກ"),
    Named("SWG05", "trade and private sector", "ການຄ້າ"),
    Named("SWG06", "infrastructure", "ພື້ນຖານໂຄງລ່າງ"),
    Named("SWG07", "UXO clearance", "ເກັບກູ້ລະເບີດ"),
    Named("SWG08", "drug control", "ຄວບຄຸມຢາເສບຕິດ"),
    Named("SWG09", "natural resources", "ຊັບພະຍາກອນທຳມະຊາດ"),
    Named("SWG10", "agriculture and rural development", "ກະສິກຳ ແລະ ພັດທະນາຊົນນະບົດ"),
)
# A DAC purpose, English and Lao subjects of projects for each sector.
SUBJECTS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "SWG01": (
        "12220",
        (
            ("Rural health services", "ການບໍລິການສາທາລະນະສຸກຊົນນະບົດ"),
            ("Mother and child health", "ສຸຂະພາບແມ່ ແລະ ເດັກ"),
            ("District hospital equipment", "ອຸປະກອນໂຮງໝໍເມືອງ"),
        ),
    ),
    "SWG02": (
        "11220",
        (
            ("Primary school quality", "ຄຸນນະພາບໂຮງຮຽນປະຖົມ"),
            ("Teacher training", "ການຝຶກອົບຮົມຄູ"),
            ("Vocational skills for youth", "ວິຊາຊີບສຳລັບຊາວໜຸ່ມ"),
        ),
    ),
    "SWG03": (
        "15110",
        (
            ("Local administration reform", "ການປະຕິຮູບການປົກຄອງທ້ອງຖິ່ນ"),
            ("Access to justice", "ການເຂົ້າເຖິງຄວາມຍຸຕິທຳ"),
            ("Digital public services", "ການບໍລິການພາກລັດແບບດິຈິຕອນ"),
        ),
    ),
    "SWG04": (
        "15111",
        (
            ("Public finance management", "ການຄຸ້ມຄອງການເງິນພາກລັດ"),
            ("National statistics", "ສະຖິຕິແຫ່ງຊາດ"),
        ),
    ),
    "SWG05": (
        "33120",
        (
            ("Trade facilitation", "ການອຳນວຍຄວາມສະດວກທາງການຄ້າ"),
            ("Small enterprise support", "ການສົ່ງເສີມວິສາຫະກິດຂະໜາດນ້ອຍ"),
        ),
    ),
    "SWG06": (
        "21020",
        (
            ("Rural road improvement", "ການປັບປຸງທາງຊົນນະບົດ"),
            ("Small town water supply", "ນ້ຳປະປາເມືອງນ້ອຍ"),
            ("Rural electrification", "ໄຟຟ້າຊົນນະບົດ"),
        ),
    ),
    "SWG07": (
        "15250",
        (
            ("Clearance of unexploded ordnance", "ການເກັບກູ້ລະເບີດບໍ່ທັນແຕກ"),
            ("Risk education in schools", "ການສຶກສາຄວາມສ່ຽງໃນໂຮງຮຽນ"),
        ),
    ),
    "SWG08": (
        "43050",
        (("Alternative livelihoods to opium", "ອາຊີບທົດແທນການປູກຝິ່ນ"),),
    ),
    "SWG09": (
        "41010",
        (
            ("Watershed protection", "ການປົກປັກຮັກສາອ່າງໂຕ່ງ"),
            ("Forest and climate", "ປ່າໄມ້ ແລະ ດິນຟ້າອາກາດ"),
            ("Flood early warning", "ການເຕືອນໄພນ້ຳຖ້ວມລ່ວງໜ້າ"),
        ),
    ),
    "SWG10": (
        "31120",
        (
            ("Smallholder irrigation", "ຊົນລະປະທານຂະໜາດນ້ອຍ"),
            ("Upland food security", "ຄວາມໝັ້ນຄົງທາງອາຫານເຂດພູດອຍ"),
            ("Coffee and tea value chains", "ຕ່ອງໂສ້ມູນຄ່າກາເຟ ແລະ ຊາ"),
        ),
    ),
}
PHASES = (
    ("", ""),
    (", phase 1", ", ໄລຍະ 1"),
    (", phase 2", ", ໄລຍະ 2"),
    (", additional financing", ", ທຶນເພີ່ມເຕີມ"),
    (": feasibility study", ": ການສຶກສາຄວາມເປັນໄປໄດ້"),
)

# Numbers of MPI's own register of development partners.
DONORS = (
    Named("LA-MPI-D01", "Asian Development Bank", "ທະນາຄານພັດທະນາອາຊີ"),
    Named("LA-MPI-D02", "World Bank Group", "ກຸ່ມທະນາຄານໂລກ"),
    Named("LA-MPI-D03", "European Union", "ສະຫະພາບເອີຣົບ"),
    Named("LA-MPI-D04", "Japan, bilateral cooperation", "ຍີ່ປຸ່ນ, ການຮ່ວມມືສອງຝ່າຍ"),
    Named("LA-MPI-D05", "Republic of Korea, bilateral cooperation", "ສ. ເກົາຫຼີ, ການຮ່ວມມືສອງຝ່າຍ"),
    Named("LA-MPI-D06", "Luxembourg, bilateral cooperation", "ລຸກຊຳບວກ, ການຮ່ວມມືສອງຝ່າຍ"),
    Named("LA-MPI-D07", "Australia, bilateral cooperation", "ອົດສະຕາລີ, ການຮ່ວມມືສອງຝ່າຍ"),
    Named("LA-MPI-D08", "Germany, bilateral cooperation", "ເຢຍລະມັນ, ການຮ່ວມມືສອງຝ່າຍ"),
    Named("LA-MPI-D09", "France, bilateral cooperation", "ຝຣັ່ງ, ການຮ່ວມມືສອງຝ່າຍ"),
    Named("LA-MPI-D10", "Switzerland, bilateral cooperation", "ສະວິດ, ການຮ່ວມມືສອງຝ່າຍ"),
    Named("LA-MPI-D11", "China, bilateral cooperation", "ຈີນ, ການຮ່ວມມືສອງຝ່າຍ"),
    Named("LA-MPI-D12", "Viet Nam, bilateral cooperation", "ຫວຽດນາມ, ການຮ່ວມມືສອງຝ່າຍ"),
    Named("LA-MPI-D13", "Thailand, bilateral cooperation", "ໄທ, ການຮ່ວມມືສອງຝ່າຍ"),
    Named("LA-MPI-D14", "UN Development Programme", "ອົງການສະຫະປະຊາຊາດເພື່ອການພັດທະນາ"),
    Named("LA-MPI-D15", "UN Children's Fund", "ອົງການສະຫະປະຊາຊາດເພື່ອເດັກ"),
    Named("LA-MPI-D16", "World Food Programme", "ອົງການອາຫານໂລກ"),
    Named("LA-MPI-D17", "International Fund for Agricultural Development", "ກອງທຶນສາກົນພັດທະນາກະສິກຳ"),
    Named("LA-MPI-D18", "Global fund for health", "ກອງທຶນໂລກເພື່ອສາທາລະນະສຸກ"),
)
AGENCIES = {
    "SWG01": Named("LA-GOV-MOH", "Ministry of Health", "ກະຊວງສາທາລະນະສຸກ"),
    "SWG02": Named("LA-GOV-MOES", "Ministry of Education and Sports", "ກະຊວງສຶກສາທິການ ແລະ ກິລາ"),
    "SWG03": Named("LA-GOV-MOHA", "Ministry of Home Affairs", "ກະຊວງພາຍໃນ"),
    "SWG04": Named("LA-GOV-MOF", "Ministry of Finance", "ກະຊວງການເງິນ"),
    "SWG05": Named("LA-GOV-MOIC", "Ministry of Industry and Commerce", "ກະຊວງອຸດສາຫະກຳ ແລະ ການຄ້າ"),
    "SWG06": Named(
        "LA-GOV-MPWT", "Ministry of Public Works and Transport", "ກະຊວງໂຍທາທິການ ແລະ ຂົນສົ່ງ"
    ),
    "SWG07": Named(
        "LA-GOV-MOLSW", "Ministry of Labour and Social Welfare", "ກະຊວງແຮງງານ ແລະ ສະຫວັດດີການສັງຄົມ"
    ),
    "SWG08": Named("LA-GOV-MOPS", "Ministry of Public Security", "ກະຊວງປ້ອງກັນຄວາມສະຫງົບ"),
    "SWG09": Named(
        "LA-GOV-MONRE",
        "Ministry of Natural Resources and Environment",
        "ກະຊວງຊັບພະຍາກອນທຳມະຊາດ ແລະ ສິ່ງແວດລ້ອມ",
    ),
    "SWG10": Named("LA-GOV-MAF", "Ministry of Agriculture and Forestry", "ກະຊວງກະສິກຳ ແລະ ປ່າໄມ້"),
}
GOALS = {
    "SWG01": "3", "SWG02": "4", "SWG03": "16", "SWG04": "8,17", "SWG05": "8", "SWG06": "6,9",
    "SWG07": "18", "SWG08": "3,16", "SWG09": "13,15", "SWG10": "1,2",
}  # fmt: skip

# US dollars for one unit, as fixed in the generator: made-up, near the real ones.
RATES = {"USD": "1", "EUR": "1.08", "JPY": "0.0068", "AUD": "0.66", "LAK": "0.000046"}

STATES = ("PIPE", "ONG", "FIN", "CLS", "CAN", "SUS")

INGOS = (
    Named("101", "Hands of the Mekong", "ມືແຫ່ງແມ່ນ້ຳຂອງ"),
    Named("104", "Clean Wells Partnership", "ຄູ່ຮ່ວມມືນ້ຳສ້າງສະອາດ"),
    Named("109", "School in Every Village", "ໂຮງຮຽນໃນທຸກບ້ານ"),
    Named("112", "Safe Ground International", "ແຜ່ນດິນປອດໄພສາກົນ"),
    Named("117", "Upland Seeds", "ເມັດພັນພູດອຍ"),
    Named("121", "Bright Eyes Mission", "ພາລະກິດຕາແຈ້ງ"),
    Named("126", "Forest Neighbours", "ເພື່ອນບ້ານປ່າໄມ້"),
    Named("130", "Inclusion Without Borders", "ການມີສ່ວນຮ່ວມບໍ່ມີຊາຍແດນ"),
    Named("133", "Weavers' Trade Link", "ເຄືອຂ່າຍຊ່າງທໍຜ້າ"),
    Named("138", "Village Nurses Fund", "ກອງທຶນພະຍາບານບ້ານ"),
)

LEGAL_FORMS = ("IND", "PTN", "LTD", "SOLE", "PLC", "SOE", "MIX", "COOP", "BR")
TRADES = (
    ("Coffee", "ກາເຟ", "0127"),
    ("Rice Mill", "ໂຮງສີເຂົ້າ", "1061"),
    ("Handicraft", "ຫັດຖະກຳ", "1392"),
    ("Transport", "ຂົນສົ່ງ", "4923"),
    ("Construction", "ກໍ່ສ້າງ", "4100"),
    ("Guesthouse", "ເຮືອນພັກ", "5510"),
    ("Hydropower", "ໄຟຟ້ານ້ຳຕົກ", "3510"),
    ("Pharmacy", "ຮ້ານຂາຍຢາ", "4772"),
    ("Software", "ຊອບແວ", "6201"),
    ("Timber", "ໄມ້ແປຮູບ", "1610"),
)
NAMES = (
    ("Dok Champa", "ດອກຈຳປາ"),
    ("Phou Bia", "ພູເບ້ຍ"),
    ("Nam Ngum", "ນ້ຳງື່ມ"),
    ("Muang Xay", "ເມືອງໄຊ"),
    ("Thong Hai Hin", "ທົ່ງໄຫຫີນ"),
    ("Si Phan Don", "ສີ່ພັນດອນ"),
    ("Vat Phou", "ວັດພູ"),
    ("Xe Don", "ເຊໂດນ"),
    ("Lane Xang", "ລ້ານຊ້າງ"),
    ("Phou Fa", "ພູຟ້າ"),
)
DISTRICTS = {
    "VTC": ("Xaythany", "ໄຊທານີ"),
    "CPS": ("Paksong", "ປາກຊ່ອງ"),
    "LPB": ("Nambak", "ນ້ຳບາກ"),
    "SVK": ("Kaysone", "ໄກສອນ"),
}
