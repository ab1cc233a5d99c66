"""This server's verified copy of the registry: followed, checked and kept on disk.

:class:`RegistryCopy` joins three things: the TUF client workflow (:mod:`.tuf_client`), what the
registry says now (:mod:`.following`, with the continuity of members' keys of
:mod:`exchange.registry.continuity`), and the last good copy (:mod:`.accepted`). It blocks, so
:mod:`mediator.registry_copy.view` runs it in a thread; one thread at a time.

What lies in the folder:

- ``metadata/``: the TUF client's own cache (anchors against rollback);
- ``files/{sha256}``: target files by their content;
- ``accepted.json``: what was accepted last, as names and digests, and the pins of all members ever
  seen. It is replaced in one rename, after everything that it names is on disk: a crash leaves the
  old copy or the new one. It carries its own SHA-256, so that damage is not taken for a change.

Invariants:
- the version of the snapshot, and that of each member's role, never falls, also when the TUF
  client's own cache was lost; new online keys, which the offline root alone can give, may begin
  the snapshots anew;
- a new state is taken over only when it is an entry of the registry's log, which has only grown
  (:mod:`.log`);
- a member whose new state fails in any way (continuity, form, missing file) keeps its last good
  state and is told in ``complaints``; the others move on;
- pins are never lost: if ``accepted.json`` is damaged, the copy refuses to open, because trusting
  the present keys anew is a person's decision;
- nothing changed costs two requests and no parsing of members; one changed member costs that
  member's, the proof and the new entries of the log.

Not checked here: signatures of what this server itself wrote to its own disk.
"""

from mediator.registry_copy.accepted import ACCEPTED
from mediator.registry_copy.copy import RegistryCopy

__all__ = ["ACCEPTED", "RegistryCopy"]
