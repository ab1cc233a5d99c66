"""A WSDL with every kind of type that a SOAP service has, and the schema in it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lxml import etree

NAMESPACE: Final = "urn:every:type"

SCHEMA: Final = f"""\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:e="{NAMESPACE}"
           targetNamespace="{NAMESPACE}" elementFormDefault="qualified">
  <xs:simpleType name="Status"><xs:restriction base="xs:string">
    <xs:enumeration value="open"/><xs:enumeration value="closed "/><xs:enumeration value="ເປີດ"/>
  </xs:restriction></xs:simpleType>
  <xs:simpleType name="Narrow"><xs:restriction base="e:Status">
    <xs:enumeration value="open"/></xs:restriction></xs:simpleType>
  <xs:simpleType name="Number"><xs:restriction base="xs:token">
    <xs:pattern value="[A-Z]{{2}}-[0-9]+"/><xs:maxLength value="8"/>
  </xs:restriction></xs:simpleType>
  <xs:simpleType name="Share"><xs:restriction base="xs:decimal">
    <xs:minInclusive value="0"/><xs:maxInclusive value="100.5"/></xs:restriction></xs:simpleType>
  <xs:simpleType name="Few"><xs:restriction base="xs:int">
    <xs:minExclusive value="0"/><xs:maxExclusive value="10"/></xs:restriction></xs:simpleType>
  <xs:simpleType name="Words"><xs:list itemType="xs:token"/></xs:simpleType>
  <xs:simpleType name="Either"><xs:union memberTypes="xs:date xs:int"/></xs:simpleType>

  <xs:complexType name="Simple">
    <xs:simpleContent><xs:extension base="xs:decimal">
      <xs:attribute name="unit" type="xs:string" use="required"/>
      <xs:attribute name="value" type="xs:int"/>
    </xs:extension></xs:simpleContent>
  </xs:complexType>

  <xs:complexType name="Base">
    <xs:sequence>
      <xs:element name="name" type="xs:string"/>
      <xs:element name="more" type="e:Node" minOccurs="0"/>
    </xs:sequence>
    <xs:attribute name="id" type="xs:int" use="required"/>
  </xs:complexType>
  <xs:complexType name="Node">
    <xs:complexContent><xs:extension base="e:Base">
      <xs:sequence>
        <xs:element name="child" type="e:Node" minOccurs="0" maxOccurs="3"/>
      </xs:sequence>
      <xs:attribute name="name" type="xs:token"/>
    </xs:extension></xs:complexContent>
  </xs:complexType>

  <xs:group name="Contact"><xs:choice>
    <xs:element name="email" type="xs:string"/>
    <xs:sequence>
      <xs:element name="phone" type="xs:string"/>
      <xs:element name="extension" type="xs:int" minOccurs="0"/>
    </xs:sequence>
  </xs:choice></xs:group>

  <xs:element name="shared" type="xs:boolean"/>
  <xs:element name="Ask">
    <xs:complexType><xs:sequence>
      <xs:element name="string" type="xs:string"/>
      <xs:element name="token" type="xs:token" minOccurs="0"/>
      <xs:element name="boolean" type="xs:boolean" minOccurs="0"/>
      <xs:element name="integer" type="xs:integer" minOccurs="0"/>
      <xs:element name="long" type="xs:long" minOccurs="0"/>
      <xs:element name="big" type="xs:unsignedLong" minOccurs="0"/>
      <xs:element name="byte" type="xs:byte" minOccurs="0"/>
      <xs:element name="few" type="e:Few" minOccurs="0"/>
      <xs:element name="decimal" type="xs:decimal" minOccurs="0"/>
      <xs:element name="share" type="e:Share" minOccurs="0"/>
      <xs:element name="double" type="xs:double" minOccurs="0"/>
      <xs:element name="date" type="xs:date" nillable="true" minOccurs="0"/>
      <xs:element name="dateTime" type="xs:dateTime" minOccurs="0"/>
      <xs:element name="base64" type="xs:base64Binary" minOccurs="0"/>
      <xs:element name="hex" type="xs:hexBinary" minOccurs="0"/>
      <xs:element name="status" type="e:Status" minOccurs="0"/>
      <xs:element name="narrow" type="e:Narrow" minOccurs="0"/>
      <xs:element name="number" type="e:Number" minOccurs="0"/>
      <xs:element name="words" type="e:Words" minOccurs="0"/>
      <xs:element name="either" type="e:Either" minOccurs="0"/>
      <xs:element name="amount" type="e:Simple" nillable="true" minOccurs="0"
                  maxOccurs="unbounded"/>
      <xs:element name="node" type="e:Node" minOccurs="0" maxOccurs="2"/>
      <xs:element ref="e:shared" minOccurs="0"/>
      <xs:element name="inner" minOccurs="0" form="unqualified">
        <xs:complexType><xs:all>
          <xs:element name="x" type="xs:int" minOccurs="0"/><xs:element name="y" type="xs:int"/>
        </xs:all></xs:complexType>
      </xs:element>
      <xs:group ref="e:Contact" minOccurs="0"/>
    </xs:sequence></xs:complexType>
  </xs:element>
</xs:schema>
"""

_WSDL: Final = """\
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:e="{namespace}"
    xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" targetNamespace="{namespace}">
  <types>{schema}</types>
  <message name="Ask"><part name="body" element="e:Ask"/></message>
  <portType name="Port"><operation name="Ask">
    <input message="e:Ask"/><output message="e:Ask"/></operation></portType>
  <binding name="Binding" type="e:Port">
    <soap:binding transport="http://schemas.xmlsoap.org/soap/http" style="document"/>
    <operation name="Ask"><soap:operation soapAction="{action}"/>
      <input><soap:body use="{use}"/></input><output><soap:body use="{use}"/></output>
    </operation>
  </binding>
  <service name="Service"><port name="Port" binding="e:Binding">
    <soap:address location="http://127.0.0.1:1/"/></port></service>
</definitions>
"""


def wsdl(
    schema: str = SCHEMA,
    namespace: str = NAMESPACE,
    use: str = "literal",
    action: str = "urn:ask",
) -> str:
    """A WSDL with one operation, ``Ask``, that takes and gives the element ``Ask``."""
    return _WSDL.format(schema=schema, namespace=namespace, use=use, action=action)


def write_wsdl(folder: Path, text: str | None = None) -> str:
    """A file with the WSDL; its path."""
    path = folder / "every.wsdl"
    path.write_text(wsdl() if text is None else text, "utf-8")
    return str(path)


def judge() -> etree.XMLSchema:
    """libxml2's judgement of messages."""
    return etree.XMLSchema(etree.fromstring(SCHEMA.encode()))
