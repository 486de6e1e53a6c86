"""Attack: somebody who may only read asks for evidence of all there ever was."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from daemon.errors import BadRequest
from daemon.ledger.book import Book
from daemon.ledger.evidence_pack import EvidencePacks
from daemon.ledger.keys import LedgerKeys
from daemon.store.reader import Reader
from ledger.evidence import verify_evidence
from ledger.lineage import Lineage
from tests.daemon.checkpoints.conftest import Opened
from tests.daemon.store.specimen import KEYS, PUBLIC

ALL = {"from": "1970-01-01T00:00:00.000Z", "to": "2999-01-01T00:00:00.000Z"}


@pytest.mark.anyio
async def test_evidence_of_everything_does_not_fill_the_memory(
    opened: Opened, engine: Engine, tmp_path: Path
) -> None:
    """More receipts than may be remembered at once are refused before the first is read."""
    async with opened() as ledger:
        await ledger.note(10)
        reader = Reader(engine)
        packs = EvidencePacks(
            Book(LedgerKeys(KEYS, Lineage(PUBLIC)), reader, ledger.writer, ledger.checkpoints),
            reader,
            tmp_path,
            most=10,
        )
        lines = [line async for line in packs.lines(ALL)]
        assert len(verify_evidence(lines, PUBLIC).receipts) == 10
        with pytest.raises(BadRequest) as refused:
            await anext(replace(packs, most=9).lines(ALL))
        assert refused.value.code == "EVIDENCE_TOO_LARGE"
