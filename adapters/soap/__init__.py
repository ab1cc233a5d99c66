"""SOAP services as REST: what a WSDL describes, asked by GET and POST and answered as JSON.

zeep reads the WSDL and its schemas, once, at the start (:mod:`adapters.soap.wsdl`); what it found
becomes frozen shapes (:mod:`adapters.soap.shapes`), and those alone say how a message is written,
how an answer is read and which JSON Schema it has. Messages go over :mod:`serving.client`.
"""
