"""Certificates of seals, servers and applications, judged at a given time (RFC 5280).

Invariants:
- a certificate is trusted only when its chain ends at a listed authority, it is valid at the time
  asked about, its key and key usages fit its one purpose, and it names exactly one owner;
- a judgement costs about a millisecond: judge once and remember, then compare validity only;
- a judgement lists *every* mismatch, each as a :class:`Mismatch` in ``facts["reasons"]``;
- an identifier has one spelling in a certificate, the one that :func:`member_urn`,
  :func:`server_urn` and :func:`application_urn` give.

Purposes and names (profiles of ``certs.profiles``):

========  ==============================================  =======================================
purpose   key usage; extended key usage                   name
========  ==============================================  =======================================
seal      digitalSignature + nonRepudiation; none of TLS  URI ``urn:LA:member:GOV:MPI`` and subject
                                                          organizationIdentifier (2.5.4.97)
                                                          ``XR:LA-LA/GOV/MPI``
auth      digitalSignature; serverAuth + clientAuth       URI ``urn:LA:server:GOV:MPI:ss1``, and
                                                          DNS names or IP addresses
client    digitalSignature; clientAuth                    URI ``urn:LA:application:GOV:MPI:oda``
========  ==============================================  =======================================

The organizationIdentifier has the form of ETSI EN 319 412-1 clause 5.1.4 for a national scheme:
two letters and a colon (``XR:``, X-Road), the country, a hyphen, the identifier.

What is *not* checked anywhere here: revocation (:mod:`exchange.evidence.revocation`), certificate
transparency, and whether a server's DNS name is the one that was dialled (TLS does that).
"""
