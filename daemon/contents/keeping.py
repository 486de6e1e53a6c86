"""What is kept of a call: by config, the vault, the tool's schema.

Of what it was given, that is decided before its first record; of what it wrote, before the one of
its end.

Trusted to ask for every value that this machine has: all versions in the vault, what environment
files hold, what the call itself was given from elsewhere; and to keep nothing but keys and types
where one of them cannot be had, and nothing of an output. The values are open only while they are
looked for, beside the event loop. Raises the store's faults.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial

import anyio
import anyio.to_thread

from daemon.contents.copy import Why, found_in_output, redacted_copy, redacted_text
from daemon.contents.kept import Kept, Setting, new_salt
from daemon.contents.output import Excerpt, Excerpting
from daemon.errors import Fault, NotFound
from daemon.store import secrets
from daemon.store.faults import StoreFault
from daemon.store.reader import Reader
from daemon.tools.arguments import parse_arguments
from daemon.tools.strict_json import JsonValue
from daemon.vault.keeper import VaultKeeper, parsed_reference
from sandbox.tier import Stream
from vault.errors import RedactorError
from vault.redact import Redaction
from vault.reference import SecretName, SecretReference, parse_reference
from vault.secret import Secret

Named = list[tuple[SecretName, Secret]]
Output = Mapping[Stream, Excerpt | Why]
"""What is kept of each stream that had something, or why nothing is."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call brings: its arguments, canonical, and what holds of them."""

    # Empty where they could not be read.
    arguments: bytes = field(repr=False)
    # None where they fit none.
    schema: Mapping[str, JsonValue] | None
    # The references of its tool.
    secrets: Sequence[str]
    message: str


class Keeping:
    """See the module."""

    def __init__(
        self, setting: Setting, reader: Reader, vault: VaultKeeper, output_bytes: int
    ) -> None:
        self.setting = setting
        self._output_bytes = 0 if setting == "none" else output_bytes
        self._reader = reader
        self._vault = vault
        # Every value is open meanwhile, in pages of its own: for one call at a time.
        self._turn = anyio.Lock()

    @property
    def at_once(self) -> Kept | None:
        """What is kept of any call, where none has to be looked at for that."""
        return None if self.setting == "redacted" else Kept(self.setting)

    async def of(self, asked: Asked) -> Kept:
        """What is kept of this call."""
        if (kept := self.at_once) is not None:
            return kept
        async with self._turn:
            return await self._copied(asked)

    async def _copied(self, asked: Asked) -> Kept:
        every, values = None, Named()
        try:
            values = await self._values(asked.secrets)
        except StoreFault:
            raise
        except Fault:
            every = Why.LOCKED
        with ExitStack() as stack:
            for _, value in values:
                stack.callback(value.wipe)
            return await anyio.to_thread.run_sync(partial(_kept, asked, values, every))

    def excerpting(self) -> Excerpting:
        """What is to take in a stream of a run."""
        return Excerpting(self._output_bytes)

    async def output(self, kept: Kept, streams: Mapping[Stream, Excerpting]) -> Output:
        """What is kept of the output of a call; what is kept of the rest of it says so, too.

        With nothing that its caller did not get: a call that is over does not fail by this.
        """
        excerpts = {stream: one.excerpt() for stream, one in streams.items()}
        found = {stream: one for stream, one in excerpts.items() if one is not None}
        if kept.redacted:
            # The tool may have printed it, in a form that nobody thought of.
            return dict.fromkeys(found, Why.ARGUMENTS)
        if self.setting != "redacted" or not found:
            return found
        async with self._turn:
            return await self._searched(found)

    async def _searched(self, found: Mapping[Stream, Excerpt]) -> Output:
        try:
            values = await self._values(())
        except Fault:
            return dict.fromkeys(found, Why.LOCKED)
        with ExitStack() as stack:
            for _, value in values:
                stack.callback(value.wipe)
            return await anyio.to_thread.run_sync(partial(_searched, found, values))

    async def _values(self, own: Sequence[str]) -> Named:
        opened: Named = []
        try:
            rows = await self._reader.read(secrets.all_versions)
            await anyio.to_thread.run_sync(self._open, rows, opened)
            for one in self._elsewhere(own):
                with suppress(NotFound):  # it is not there: no value to look for
                    opened.append((one.name, (await self._vault.sources.fetch(one))[1]))
        except BaseException:
            for _, value in opened:
                value.wipe()
            raise
        return opened

    def _open(self, rows: Sequence[secrets.SecretRow], opened: Named) -> None:
        for row in rows:
            reference = parse_reference(f"secret://{row.scope}/{row.name}")
            opened.append((reference.name, self._vault.value(reference, row)))

    def _elsewhere(self, own: Sequence[str]) -> list[SecretReference]:
        """What others keep: what is a file here, and what the call is to have anyway."""
        mine = (parsed_reference(reference) for reference in own)
        found = {one for one in mine if one.scope.source is not None}
        found |= {parse_reference(reference) for reference in self._vault.sources.at_hand()}
        return sorted(found, key=str)


def _kept(asked: Asked, values: Named, every: Why | None) -> Kept:
    try:
        found = Redaction(values)
    except RedactorError:  # not on this processor
        found, every = Redaction(()), Why.LOCKED
    with found as redaction:
        message = redacted_text(asked.message, redaction)
        if not asked.arguments:
            return Kept("redacted", message=message)
        arguments = parse_arguments(asked.arguments).value
        copy = redacted_copy(arguments, redaction, asked.schema, every)
    salt = new_salt() if copy.withheld else b""
    return Kept("redacted", copy.canonical, copy.withheld, salt, message)


def _searched(found: Mapping[Stream, Excerpt], values: Named) -> Output:
    try:
        redaction = Redaction(values)
    except RedactorError:  # not on this processor
        return dict.fromkeys(found, Why.LOCKED)
    with redaction:
        return {stream: _unless_found(one, redaction) for stream, one in found.items()}


def _unless_found(one: Excerpt, redaction: Redaction) -> Excerpt | Why:
    """The stream, if nothing has to be taken out of it.

    Of a part nobody knows what is in the rest; and where that is short it is found by trying, since
    the digest of the whole is signed.
    """
    return Why.LONG if one.left_out else found_in_output(one.start, redaction) or one
