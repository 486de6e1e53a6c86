"""From a permitted call to a sandbox and back: the spec, the secrets, the output, the ending.

Secrets are opened here, handed to the sandbox and to the redactors, and wiped when the run is over.
What leaves the run passes a redactor first. Raises what ends a call before its start as `Fault`s
and the leaves' refusals; `engine` turns those into endings.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread

from daemon.calls.live import LiveCall
from daemon.contents.copy import Why
from daemon.contents.keeping import Keeping, Output
from daemon.contents.kept import salted
from daemon.contents.output import Excerpt, Excerpting, pack
from daemon.egress import TARGET as EGRESS_TARGET
from daemon.outcome import Ending, ending_of, outcome_body
from daemon.store.ids import CallId
from daemon.tools.compared import Compared
from daemon.tools.invocation import build
from daemon.tools.manifest import Manifest
from daemon.vault.keeper import VaultKeeper
from daemon.workspaces import TARGET as WORKSPACE_TARGET
from daemon.workspaces import Workspaces
from sandbox.errors import SandboxError
from sandbox.limits import Limits
from sandbox.outcome import Outcome
from sandbox.spec import Contents, Mount, RunSpec
from sandbox.streams import Tally
from sandbox.tier import Sandbox, Stream
from stockade.v1 import call_pb2
from vault.burn import burn
from vault.redact import Redaction, Redactor
from vault.reference import SecretName, parse_reference
from vault.secret import Secret

HOSTNAME = "stockade"
TOOL_TARGET = "/tool"
SECRETS_TARGET = "/run/secrets"
ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",  # noqa: S108 - the sandbox's own
    "LANG": "C.UTF-8",
}
TAIL_SECONDS = 5
# So much output is searched for secrets before others get their turn: a tool that prints nothing
# but beginnings of a secret takes 2 us a byte.
SEARCHED_AT_ONCE = 16 * 1024
_MIB = 1024 * 1024

_STREAMS: Mapping[Stream, "call_pb2.CallEvent.OutputChunk.Stream.ValueType"] = {
    "stdout": call_pb2.CallEvent.OutputChunk.STREAM_STDOUT,
    "stderr": call_pb2.CallEvent.OutputChunk.STREAM_STDERR,
}


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over."""

    ending: Ending
    outcome: Outcome
    redactions: int
    put_aside: tuple[str, ...]
    body: dict[str, object]
    # What is kept of its output, as it is stored.
    output: bytes | None = field(default=None, repr=False)


class Run:
    """One run of one call; used once."""

    def __init__(
        self,
        live: LiveCall,
        sandbox: Sandbox,
        vault: VaultKeeper,
        workspaces: Workspaces,
        egress: Path,
        now_ms: Callable[[], int],
        keeping: Keeping,
        compared: Compared,
    ) -> None:
        self._live = live
        self._compared = compared
        self._sandbox = sandbox
        self._vault = vault
        self._workspaces = workspaces
        self._egress = egress
        self._now_ms = now_ms
        self._keeping = keeping
        self._excerpts: dict[Stream, Excerpting] = {}
        self._secrets: dict[str, tuple[int, Secret]] = {}
        self._redaction: Redaction | None = None
        self._redactors: dict[Stream, Redactor] = {}
        self._offsets: dict[Stream, int] = {"stdout": 0, "stderr": 0}
        self._delivered: dict[Stream, Tally] = {}
        self._tool: Contents | None = None
        self._spec: RunSpec | None = None

    @property
    def secret_versions(self) -> list[dict[str, object]]:
        """The secrets this run has, by reference and version, for its receipt."""
        return [
            {"reference": reference, "version": version}
            for reference, (version, _) in sorted(self._secrets.items())
        ]

    async def prepare(self) -> None:
        """Everything that can be refused before the tool starts."""
        candidate = self._live.judged
        # What was judged is what runs: its copy may have been written to since it was loaded.
        tool = candidate.tool
        files = await self._compared.files(tool.snapshot, tool.digest)
        self._tool = Contents(
            tool.digest, {path: (entry.content, entry.executable) for path, entry in files.items()}
        )
        self._secrets = await self._vault.open(candidate.secrets, self._live.call_id)
        try:
            self._spec = self._build_spec()
            if self._secrets:
                self._redaction = await anyio.to_thread.run_sync(Redaction, self._named())
                streams: tuple[Stream, ...] = ("stdout", "stderr")
                self._redactors = {stream: self._redaction.stream() for stream in streams}
        except BaseException:
            self.discard()
            raise

    def set_aside(self) -> None:
        """While its start is being recorded: holds a sandbox for it, if one waits.

        What there is to refuse, `execute` meets again.
        """
        if self._spec is not None:
            with suppress(SandboxError, OSError):
                self._sandbox.set_aside(self._spec)

    async def let_go(self) -> None:
        """Gives back what was set aside; the run is over, or is not to be."""
        if self._spec is not None:
            await self._sandbox.let_go(self._spec.run_id)

    async def execute(self) -> Finished:
        """Runs the tool to its end, its output going to the call's feed."""
        assert self._spec is not None  # noqa: S101 - prepared before
        self._delivered = {stream: self._tally(stream) for stream in _STREAMS}
        self._excerpts = {stream: self._keeping.excerpting() for stream in _STREAMS}
        try:
            folders = self._sandbox.name == "gvisor"  # which cannot mount over a socket
            async with self._workspaces.guarded(
                self._spec, self._workspace, folders=folders
            ) as guarded:
                outcome = await self._sandbox.run(guarded.spec, self._take)
            # What redaction held back. The tool is dead: a reader that does not read must not keep
            # its call open, with its place among the running and its secrets.
            with anyio.move_on_after(TAIL_SECONDS):
                for stream, redactor in self._redactors.items():
                    await self._publish(stream, redactor.finish())
        finally:
            self.discard()
        if self._secrets or self._live.contents.redacted:
            # It may quote what the tool wrote, cut anywhere: redaction would miss half a secret.
            outcome = replace(outcome, detail="no details, since the tool had secrets")
        redactions = sum(redactor.count for redactor in self._redactors.values())
        kept = await self._kept()
        ending = ending_of(outcome)
        body: dict[str, object] = {
            **outcome_body(outcome),
            # Of what was delivered, not of what was written: from a digest of output that holds a
            # short secret, the secret can be found by trying.
            **{stream: self._told(stream, kept.get(stream)) for stream in _STREAMS},
            "exit_code": ending.exit_code,
            "signal": ending.signal,
            "limit": ending.limit,
            "redactions": redactions,
        }
        if guarded.put_aside:
            body["put_aside"] = guarded.put_aside
        stored = pack({at: one for at, one in kept.items() if isinstance(one, Excerpt)})
        return Finished(ending, outcome, redactions, tuple(guarded.put_aside), body, stored)

    async def _kept(self) -> Output:
        """What is kept of the output. The tool is over, so that a cancel is too late."""
        with anyio.CancelScope(shield=True):
            kept = await self._keeping.output(self._live.contents, self._excerpts)
        return kept  # noqa: RET504 - the checker takes a scope for one that may swallow

    def _tally(self, stream: Stream) -> Tally:
        kept = self._live.contents
        # A tool may print what it was given, and of that something is not to be found by trying.
        return Tally(state=salted(kept.salt, stream)) if kept.redacted else Tally()

    def _told(self, stream: Stream, kept: Excerpt | Why | None) -> dict[str, object]:
        tally, told = self._delivered[stream], dict[str, object]()
        if isinstance(kept, Excerpt):
            told = {**kept.told()}
        elif kept is not None:
            told = {"withheld": kept.value}
        if self._live.contents.redacted:
            return {"bytes": tally.count, "salted_digest": tally.state.hexdigest(), **told}
        return {"bytes": tally.count, "digest": tally.digest, **told}

    def discard(self) -> None:
        """Wipes the secrets; the run is over, or is not to be."""
        for _, secret in self._secrets.values():
            secret.wipe()
        self._vault.release(tuple(self._secrets), self._live.call_id)
        if self._redaction is not None:
            self._redaction.wipe()

    def _named(self) -> list[tuple[SecretName, Secret]]:
        return [
            (parse_reference(reference).name, secret)
            for reference, (_, secret) in self._secrets.items()
        ]

    async def _take(self, stream: Stream, data: bytes) -> None:
        if not self._redactors:
            await self._publish(stream, data)
            return
        redactor = self._redactors[stream]
        for at in range(0, len(data), SEARCHED_AT_ONCE):
            part = data[at : at + SEARCHED_AT_ONCE]
            await self._publish(stream, redactor.feed(part))
            burn(part)
            await anyio.lowlevel.checkpoint()
        burn(data)

    async def _publish(self, stream: Stream, data: bytes) -> None:
        if not data:
            return
        event = self._live.event(self._now_ms())
        event.output.stream = _STREAMS[stream]
        event.output.data = data
        event.output.offset = self._offsets[stream]
        self._offsets[stream] += len(data)
        await self._live.feed.publish_output(event)
        self._delivered[stream].add(data)
        self._excerpts[stream].add(data)

    def _build_spec(self) -> RunSpec:
        candidate = self._live.judged
        manifest = candidate.tool.manifest
        invocation = build(manifest, candidate.parsed)
        mounts = [
            Mount(str(candidate.tool.snapshot), TOOL_TARGET, contents=self._tool),
            Mount(str(self._egress), EGRESS_TARGET),
        ]
        cwd = ENVIRONMENT["HOME"]
        if candidate.workspace:
            mounts.append(self._workspaces.mount(candidate.workspace, manifest))
            cwd = WORKSPACE_TARGET
        return RunSpec(
            argv=invocation.argv,
            # PWD is said here because bubblewrap would set it, at the price of one exec more.
            env={**ENVIRONMENT, **invocation.env, "PWD": cwd},
            stdin=invocation.stdin,
            cwd=cwd,
            hostname=HOSTNAME,
            mounts=tuple(mounts),
            secret_env=self._secret_values(manifest, "env"),
            secret_files={
                f"{SECRETS_TARGET}/{name}": value
                for name, value in self._secret_values(manifest, "file").items()
            },
            limits=limits_of(manifest),
            run_id=str(CallId(self._live.call_id)),
            image=manifest.image,
            python=manifest.runtime == "python",
            asker=self._live.principal.device_id,
        )

    @property
    def _workspace(self) -> str:
        return self._live.judged.workspace

    def _secret_values(self, manifest: Manifest, place: str) -> dict[str, memoryview]:
        return {
            getattr(secret, place): self._secrets[secret.reference][1].view()
            for secret in manifest.secrets
            if getattr(secret, place)
        }


def limits_of(manifest: Manifest) -> Limits:
    """The manifest's limits in the sandbox's units."""
    limits = manifest.limits
    return Limits(
        wall_seconds=limits.wall_seconds,
        cpu_seconds=limits.cpu_seconds,
        memory_bytes=limits.memory_mib * _MIB,
        pids=limits.pids,
        output_bytes=limits.output_kib * 1024,
        file_size_bytes=limits.file_size_mib * _MIB,
        open_files=limits.open_files,
        tmp_bytes=limits.tmp_mib * _MIB,
    )
