"""An instance built and kept from GovStack's configuration document.

``saphan instance serve`` (:mod:`console.instance.service`) holds an instance in one folder and
serves the GovStack Information Mediator's configuration management (IM 1.1.1 section 8.6)::

    reading          a document read with all its mistakes; no I/O
    document         the configuration: read, merged, replaced; no I/O
    rights           access rights: read, filtered, paged; no I/O
    specifications   OpenAPI documents fetched within bounds
    desired          what was asked for, on the disk, before anything is done about it
    central, hosted  the parts: authority and registry; each member with its server and agreements
    convergence      makes what there is what is asked for, again and again
    clients, tokens, issuers   OAuth 2.0
    api, openapi     the HTTP face and its document
"""
