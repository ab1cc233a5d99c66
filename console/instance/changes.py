"""Changes of what is asked for: validated as a whole, then durable, then made.

Nothing is done before the whole document was read, every specification fetched and compiled, and
what would come of it found consistent; then one file is written, and a round begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from console.instance.configuration import Configuration
from console.instance.convergence import Convergence, Outcome
from console.instance.desired import Desired
from console.instance.drafts import Draft
from console.instance.merging import settle
from console.instance.reading import Mistake, Mistaken
from console.instance.rights import Pair, ServiceKey, allow, deny
from console.instance.specifications import Fetched, Sources
from exchange.problems import Code, Problem

FETCHES: Final = 8
FETCH_ALL_S: Final = 60.0
RIGHTS_S: Final = 90.0


@dataclass(slots=True)
class Changes:
    """The acts of the API, one at a time."""

    convergence: Convergence
    sources: Sources
    most_members: int
    _one: asyncio.Lock

    @property
    def desired(self) -> Desired | None:
        return self.convergence.desired

    def configuration(self) -> Configuration:
        """What is asked for now.

        Raises:
            Problem: ``NotFound`` before an instance was made.
        """
        if self.desired is None:
            raise Problem(
                Code.NOT_FOUND,
                where="configuration",
                detail="there is no instance yet; POST one with ?init=true",
            )
        return self.desired.configuration

    async def create(self, draft: Draft, *, init: bool) -> Desired:
        """POST: the first configuration of an instance.

        The same document again is the same act, so that a lost answer can be asked for again.

        Raises:
            Mistaken: 400.
            Problem: ``Conflict`` when there is no centre and none was asked for, or there is a
                configuration already.
        """
        self._check_creation(settle(draft), init=init)
        fetched = await self._fetch(draft)
        async with self._one:
            whole = settle(draft)
            if self._check_creation(whole, init=init):
                return self._present()
            return await self._save(whole, fetched)

    async def replace(self, draft: Draft, etag: str | None = None) -> Desired:
        """PUT: this and nothing else.

        Raises:
            Mistaken: 400; Problem: ``Conflict`` without an instance, or when it has changed.
        """
        self._check(self._same_instance(settle(draft)), etag)
        fetched = await self._fetch(draft)
        async with self._one:
            whole = self._same_instance(settle(draft))
            self._check(whole, etag)
            return await self._save(whole, fetched)

    async def merge(self, draft: Draft, etag: str | None = None) -> Desired:
        """PATCH: what is not described stays.

        Raises:
            Mistaken: 400; Problem: ``Conflict`` without an instance, or when it has changed.
        """
        self._check(settle(draft, self._existing()), etag)
        fetched = await self._fetch(draft)
        async with self._one:
            whole = settle(draft, self._existing())
            self._check(whole, etag)
            return await self._save(whole, fetched)

    async def change_rights(
        self, read: Callable[[Configuration], Iterable[Pair]], *, allowed: bool
    ) -> Desired:
        """Allow or deny; returns when the servers obey.

        Raises:
            Mistaken: 400; Problem: ``NotConverged`` when it is saved but could not be made yet.
        """
        async with self._one:
            known = self.configuration()
            pairs = read(known)
            whole = allow(known, pairs) if allowed else deny(known, pairs)
            desired = await self._save(whole, {}) if whole != known else self._present()
        await self.convergence.take_away()
        outcome = await self.convergence.settled(desired.generation, RIGHTS_S)
        self._check_made(outcome)
        return desired

    @staticmethod
    def _check_made(outcome: Outcome | None) -> None:
        if outcome is None:
            raise Problem(Code.NOT_CONVERGED, where="rights", detail="it takes longer than usual")
        if outcome.failures:
            first = outcome.failures[0]
            raise Problem(
                Code.NOT_CONVERGED,
                where=f"{first.step} {first.subject}".strip(),
                detail=str(first.problem)[:500],
            )

    # --- in detail ----------------------------------------------------------------------------

    def _present(self) -> Desired:
        if self.desired is None:
            self.configuration()
            raise AssertionError("unreachable")
        return self.desired

    def _existing(self) -> Configuration:
        if self.desired is None:
            raise _no_instance()
        return self.desired.configuration

    def _same_instance(self, whole: Configuration) -> Configuration:
        known = self._existing()
        if whole.instance != known.instance:
            detail = f"this instance is {known.instance}, and stays it"
            raise Mistaken((Mistake("/instance", detail),))
        return whole

    def _check_creation(self, whole: Configuration, *, init: bool) -> bool:
        """Whether it is there already."""
        desired = self.desired
        if desired is None:
            if not init:
                raise _no_instance()
        elif whole == desired.configuration:
            return True
        elif init or desired.configuration.members:
            raise Problem(
                Code.CONFLICT,
                where="instance",
                detail=f"the instance {desired.configuration.instance} is there already; change "
                "it with PATCH or PUT",
            )
        else:
            self._same_instance(whole)
        self._check(whole, None)
        return False

    def _check(self, whole: Configuration, etag: str | None) -> None:
        if etag not in (None, "*", etag_of(self.desired)):
            raise Problem(
                Code.CONFLICT,
                where="If-Match",
                detail="the configuration has changed since; read it again",
                status=412,
            )
        if len(whole.members) > self.most_members:
            detail = f"{len(whole.members)} members, this instance takes {self.most_members}"
            raise Mistaken((Mistake("/members", detail),))

    async def _fetch(self, draft: Draft) -> dict[ServiceKey, Fetched]:
        """All specifications that a document describes, each address once."""
        wanted = list(draft.specifications())
        slots = asyncio.Semaphore(FETCHES)
        urls = list(dict.fromkeys(url for _, _, url in wanted))

        async def fetch(url: str) -> Fetched | Problem:
            async with slots:
                try:
                    return await self.sources.fetch(url)
                except Problem as problem:
                    return problem

        try:
            async with asyncio.timeout(FETCH_ALL_S):
                found = dict(zip(urls, await asyncio.gather(*map(fetch, urls)), strict=True))
        except TimeoutError as error:
            detail = f"all specifications together took more than {FETCH_ALL_S:.0f} seconds"
            raise Mistaken((Mistake("/members", detail),)) from error
        mistakes = [
            Mistake(pointer, result.detail)
            for pointer, _, url in wanted
            if isinstance(result := found[url], Problem)
        ]
        if mistakes:
            raise Mistaken(tuple(mistakes[:100]))
        return {
            ServiceKey(*codes): result
            for _, codes, url in wanted
            if isinstance(result := found[url], Fetched)
        }

    async def _save(self, whole: Configuration, fetched: Mapping[ServiceKey, Fetched]) -> Desired:
        known = self.desired or Desired(whole, 0)
        kept = {ServiceKey(*m.key, a.id, s.id) for m, a, s in whole.services()}
        digests = {key: digest for key, digest in known.specifications.items() if key in kept}
        digests |= {key: one.digest for key, one in fetched.items()}
        desired = replace(
            known,
            configuration=whole,
            generation=known.generation + 1,
            specifications=digests,
        )
        await self.convergence.ask(desired, {one.digest: one.data for one in fetched.values()})
        return desired


def etag_of(desired: Desired | None) -> str:
    """The entity tag of what is asked for (RFC 9110 section 8.8.3)."""
    return f'"{0 if desired is None else desired.generation}"'


def _no_instance() -> Problem:
    return Problem(
        Code.CONFLICT,
        where="instance",
        detail="there is no instance here; POST the configuration with ?init=true, which makes its "
        "authority and registry",
    )
