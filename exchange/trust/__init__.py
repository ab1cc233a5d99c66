"""Trust: what a server believes of its instance at one moment; look-ups of the message path.

A state is built from verified registrations (:mod:`exchange.registrations`) and never changes; a
newer one replaces it. Who may say what is decided before: TUF roles, and the continuity of members'
keys (:mod:`exchange.registry.continuity`).

- :mod:`exchange.trust.admission`: which of a member's certificates count at a time;
- :mod:`exchange.trust.shared_schemas`: the schemas of the registry itself, by their ``$id``;
- :mod:`exchange.trust.indexes`: all that is looked up, by identifier, key and fingerprint;
- :mod:`exchange.trust.state`: the state, and why something is not found.

Not checked here: revocation, and agreements, which alone open doors (docs/architecture.md).
"""
