"""How wide a table's columns are, so that no word of it is broken; or that it is no table here.

Pure. Every text here has been through `visible`, so its width is what `rich.cells` says it is.
"""

from collections.abc import Sequence

GAP = 2
# A longer word may be broken: it is a digest, or a name that nobody reads as one.
LONGEST_WHOLE = 24


def widths(rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """The widths, headings among the rows; None where they would not fit side by side.

    The first column has what people copy, and is never broken.
    """
    from rich.cells import cell_len

    columns = list(zip(*rows, strict=True))
    wide = [max(map(cell_len, column)) for column in columns]
    least = [
        min(LONGEST_WHOLE, max(cell_len(word) for cell in column for word in cell.split() or [""]))
        for column in columns
    ]
    least[0] = wide[0]
    room -= GAP * (len(columns) - 1)
    if sum(least) > room:
        return None
    for _ in range(sum(wide) - room):
        shrinkable = [number for number, width in enumerate(wide) if width > least[number]]
        wide[max(shrinkable, key=wide.__getitem__)] -= 1
    return wide
