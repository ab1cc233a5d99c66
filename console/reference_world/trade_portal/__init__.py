"""The trade portal of the Ministry of Industry and Commerce: an old SOAP service, as it stands.

``trade.wsdl`` and ``trade.xsd`` describe it, ``portal.xml`` is what it knows (made up), and
:mod:`console.reference_world.trade_portal.service` answers. It shares no code with the adapter.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
WSDL = FOLDER / "trade.wsdl"
XSD = FOLDER / "trade.xsd"
RECORDS = FOLDER / "portal.xml"
