"""The report: a table for people within 80 columns, and JSON for programs."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bench.machine import ROOT
from bench.result import Result
from bench.targets import judged

OUT = ROOT / "bench" / "out" / "latest.json"
_ROW = "{:<24} {:<8}{:>7}{:>10}{:>10}{:>10}{:>10}"


def heading() -> str:
    """The head of the table."""
    return _ROW.format("name", "unit", "n", "p50", "p90", "p99", "value")


def row(result: Result) -> str:
    """One result."""
    figures = (result.p50, result.p90, result.p99, result.value)
    return _ROW.format(result.name, result.unit, result.n, *map(_short, figures)).rstrip()


def remarks(results: Iterable[Result]) -> Iterator[str]:
    """Failures by name, the ratios of what ran side by side, and the targets."""
    by_name = {result.name: result for result in results}
    for result in by_name.values():
        for reason, count in sorted(result.failed.items()):
            yield f"{result.name}: {count} of {result.n} failed: {reason}"
    for name, result in by_name.items():
        other = by_name.get(result.beside or "")
        if other is not None and not other.name.startswith("call.") and _is_first(result, by_name):
            yield f"{name} / {other.name} = {result.p50 / other.p50:.2f} (p50)"
    yield from judged(by_name)


def document(
    results: Iterable[Result],
    *,
    machine: Mapping[str, object],
    versions: Mapping[str, str],
    commit: str,
) -> dict[str, object]:
    """The contract's document."""
    found = [result.to_json() for result in results]
    return {
        "machine": dict(machine),
        "versions": dict(versions),
        "commit": commit,
        "results": found,
    }


def write(document: Mapping[str, object], path: Path) -> None:
    """Puts it in place whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(path)


def _is_first(result: Result, by_name: Mapping[str, Result]) -> bool:
    """Of a pair, the one that was measured first stands above."""
    names = list(by_name)
    return names.index(result.name) < names.index(result.beside or "")


def _short(figure: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:,.0f}" if abs(figure) >= 1000 else f"{figure:.4g}"
