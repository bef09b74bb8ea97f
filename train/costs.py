"""What each mistake costs, from a CSV file: a row for each true label, a column for each answer.

    ,       glass, metal, reject
    glass,      0,     1,    0.3
    metal,      5,     0,    0.3

Rows and columns may stand in any order. A column `reject` is what leaving an object to people costs, by its true
label, or the same for all in a row `reject` with one number. Semicolons serve as well as commas.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.costs import Costs as Matrix
from edge.errors import DataError, nearest

REJECT = "reject"
MOST_BYTES = 64 * 2**20
"""Of a file of costs: 5,000 labels squared, and room to spare."""
Table = list[list[str]]


@dataclass(frozen=True)
class Costs:
    """Prices of mistakes, in one unit of money, time or harm."""

    matrix: Matrix
    """float64 [true, answer], in the order of the labels; 0 or more, diagonal 0, something above 0."""
    reject: float | None
    """Mean cost of rejecting an object, over the labels; None: not given."""

    @property
    def largest(self) -> float:
        """Of the matrix: what losses and scores are divided by."""
        return float(self.matrix.max())

    @property
    def least_score(self) -> float:
        """Score below which rejecting is cheaper than answering (Chow 1970); 0 where rejecting has no price."""
        return 0.0 if self.reject is None else max(0.0, 1 - self.reject / self.largest)

    def losses(self, truth: npt.NDArray[np.int64], answers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return what each answer cost over the largest cost: float64 [n] from 0 to 1, of int64 [n] both."""
        result: npt.NDArray[np.float64] = self.matrix[truth, answers] / self.largest
        return result


def read_costs(file: Path, labels: Sequence[str]) -> Costs:
    """Read the costs of mistakes among `labels`.

    Raises DataError: missing, no text, no table, labels missing or unknown or twice, what is no number or below
    0, a right answer that costs something, mistakes that are all free, a label called reject.
    """
    if REJECT in labels:
        raise DataError(f"a label is called {REJECT!r}, which {file} uses for rejecting; rename the class folder")
    answers, rows = _table(file)
    _check_names(file, "column", answers, labels)
    _check_names(file, "row", list(rows), labels)
    columns = {name: place for place, name in enumerate(answers)}
    matrix = np.array(
        [[_number(file, rows[true][columns[said]], true, said) for said in labels] for true in labels]
    )
    priced = np.flatnonzero(matrix.diagonal())
    if len(priced):
        label = labels[priced[0]]
        raise DataError(f"{file}: answering {label!r} rightly costs {matrix.diagonal()[priced[0]]:g}, expected 0")
    if not matrix.any():
        raise DataError(f"{file}: every mistake is free, expected at least one cost above 0")
    return Costs(matrix, _reject(file, columns, rows, labels))


def _table(file: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Return the header's answers, and the cells of each true label."""
    lines = [[cell.strip() for cell in line] for line in _cells(file) if any(cell.strip() for cell in line)]
    if len(lines) < 2 or len(lines[0]) < 2:
        raise DataError(f"{file} is no table of costs, expected a header of answers and a row for each true label")
    answers, rows = lines[0][1:], {}
    for line in lines[1:]:
        name, cells = line[0], line[1:]
        if name in rows:
            raise DataError(f"{file}: row {name!r} is there twice, expected once")
        if len(cells) != len(answers) and name != REJECT:
            raise DataError(f"{file}: row {name!r} has {len(cells)} costs, expected {len(answers)}, one an answer")
        rows[name] = cells
    return answers, rows


def _cells(file: Path) -> Table:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise DataError(f"{file} is larger than {MOST_BYTES >> 20} MiB, expected a table of costs as CSV")
        text = file.read_bytes().decode("utf-8-sig")
        header = text.splitlines()[0] if text.strip() else ""
        return list(csv.reader(io.StringIO(text), delimiter=";" if ";" in header else ",", strict=True))
    except OSError as why:
        raise DataError(f"{file} can't be read: {why.strerror or why}; expected a table of costs as CSV") from why
    except (UnicodeDecodeError, csv.Error) as why:
        raise DataError(f"{file} is no CSV in UTF-8 ({why}); expected a table of costs") from why


def _check_names(file: Path, kind: str, names: list[str], labels: Sequence[str]) -> None:
    """Raise DataError unless `names` are the labels, each once, and perhaps reject."""
    known = {*labels, REJECT}
    unknown = [name for name in names if name not in known]
    if unknown:
        near = nearest(unknown[0], known)
        raise DataError(f"{file}: {kind} {unknown[0]!r} is no label of the data; nearest: {near}")
    missing = [label for label in labels if label not in set(names)]
    if missing:
        raise DataError(f"{file} has no {kind} for {', '.join(map(repr, missing[:3]))}, expected one a label")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{file}: {kind} {twice!r} is there twice, expected once")


def _reject(
    file: Path, columns: dict[str, int], rows: dict[str, list[str]], labels: Sequence[str]
) -> float | None:
    if REJECT in columns and REJECT in rows:
        raise DataError(f"{file} has both a column and a row {REJECT!r}, expected one of them")
    if REJECT in columns:
        return float(np.mean([_number(file, rows[true][columns[REJECT]], true, REJECT) for true in labels]))
    if REJECT not in rows:
        return None
    given = {cell for cell in rows[REJECT] if cell}
    if len(given) != 1:
        raise DataError(f"{file}: row {REJECT!r} has {len(given)} costs, expected one for all, or else a column")
    return _cost(file, given.pop(), f"row {REJECT!r}")


def _number(file: Path, cell: str, true: str, said: str) -> float:
    return _cost(file, cell, f"answering {said!r} for {true!r}")


def _cost(file: Path, cell: str, where: str) -> float:
    try:
        cost = float(cell)
    except ValueError:
        cost = math.nan
    if not 0 <= cost < math.inf:
        raise DataError(f"{file}: {where} costs {cell!r}, expected a number of 0 or more, with a decimal point")
    return cost
