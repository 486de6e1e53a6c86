"""On Cedar's own corpus the index changes nothing: decision, determining policies, errors."""

from collections.abc import Iterator
from pathlib import Path

import cedarpy
import pytest

from policy.cases import Case
from policy.workbench import Policies, Workbench
from tests.policy import corpus
from tests.policy.reference import Reference

TOGETHER = 50


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    corpus.unpack(folder)
    return folder


def test_every_case_of_the_corpus_is_answered_as_expected(unpacked: Path) -> None:
    """Through the index, every request of every case has the answer that Cedar's authors give."""
    wrong, asked = [], 0
    for path, case in corpus.cases(unpacked):
        policies, entities, schema = corpus.texts(path, case)
        bench = Workbench(Policies.from_cedar(policies), entities, schema)
        for expectation in case.expectations:
            asked += 1
            if (why := expectation.disagreement(bench.answer(expectation.request))) is not None:
                wrong.append(f"{path.stem} {expectation.name}: {why}")
    assert not wrong
    assert asked >= 31_000


def test_cases_thrown_together_are_answered_as_on_the_whole_set(unpacked: Path) -> None:
    """With the policies of fifty cases in one set, slice and whole agree on each one's requests."""
    asked = 0
    for group in _groups(unpacked):
        read = [(case, *corpus.texts(path, case)) for path, case in group]
        text = "\n".join(policies for _, policies, _, _ in read)
        policies, whole = Policies.from_cedar(text), cedarpy.PolicySet.from_str(text)
        for case, _, entities, schema in read:
            bench, reference = (
                Workbench(policies, entities, schema),
                Reference(whole, entities, schema),
            )
            for expectation in case.expectations[::2]:
                expected = reference.answer(expectation.request)
                answer = bench.answer(expectation.request)
                assert (answer, answer.messages) == (expected, expected.messages)
                asked += 1
    assert asked > 15_000


def _groups(folder: Path) -> Iterator[list[tuple[Path, Case]]]:
    group: list[tuple[Path, Case]] = []
    for one in corpus.cases(folder):
        group.append(one)
        if len(group) == TOGETHER:
            yield group
            group = []
    yield group
