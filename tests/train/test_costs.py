from pathlib import Path

import numpy as np
import pytest

from edge.errors import DataError
from train.costs import read_costs

LABELS = ("glass", "metal", "paper")
TABLE = """,glass,metal,paper
glass,0,1,2
metal,5,0,1.5
paper,1,1,0
"""


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "costs.csv"
    file.write_bytes(text.encode(encoding))
    return file


def test_a_table_is_read_in_the_order_of_the_labels(tmp_path: Path) -> None:
    costs = read_costs(write(tmp_path, TABLE), LABELS)
    assert costs.matrix.tolist() == [[0, 1, 2], [5, 0, 1.5], [1, 1, 0]]
    assert (costs.reject, costs.largest, costs.least_score) == (None, 5, 0)
    shuffled = "true,paper,glass,metal\nmetal,1.5,5,0\npaper,0,1,1\nglass,2,0,1\n"
    assert read_costs(write(tmp_path, shuffled), LABELS).matrix.tolist() == costs.matrix.tolist()


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (TABLE, "utf-8-sig"),
        (TABLE.replace(",", ";"), "utf-8"),
        (TABLE.replace(",", " , ").replace("\n", "\r\n") + "\r\n,,,\r\n", "utf-8"),
        (TABLE.replace("1.5", "15e-1"), "utf-8"),
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, text: str, encoding: str) -> None:
    assert read_costs(write(tmp_path, text, encoding), LABELS).matrix[1].tolist() == [5, 0, 1.5]


def test_the_price_of_rejecting_as_a_column_or_a_row(tmp_path: Path) -> None:
    lines = TABLE.splitlines()
    column = "\n".join(f"{line},{price}" for line, price in zip(lines, ("reject", 0.5, 1, 1.5), strict=True))
    by_column = read_costs(write(tmp_path, column), LABELS)
    for row in ("reject,1\n", "reject,,1,\n", "reject,1,1,1\n"):
        assert read_costs(write(tmp_path, TABLE + row), LABELS).reject == 1
    assert by_column.reject == 1
    assert by_column.least_score == pytest.approx(0.8)
    assert by_column.matrix.shape == (3, 3)


def test_losses_are_shares_of_the_largest_cost(tmp_path: Path) -> None:
    costs = read_costs(write(tmp_path, TABLE), LABELS)
    losses = costs.losses(np.array([0, 1, 1, 2]), np.array([0, 0, 2, 1]))
    assert losses.tolist() == pytest.approx([0, 1, 0.3, 0.2])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no table"),
        ("glass\n", "no table"),
        (TABLE.replace("metal,5,0,1.5\n", ""), "no row for 'metal'"),
        (TABLE.replace(",paper", ",reject"), "no column for 'paper'"),
        (TABLE.replace("metal,5", "mettal,5"), "row 'mettal' is no label.*nearest: metal"),
        (TABLE.replace(",paper", ",papr"), "column 'papr' is no label.*nearest: paper"),
        (TABLE + "glass,0,1,2\n", "row 'glass' is there twice"),
        (TABLE.replace("\n", ",0\n").replace("paper,0\n", "paper,glass\n", 1), "column 'glass' is there twice"),
        (TABLE.replace("1.5", "-1"), "'paper' for 'metal' costs '-1'"),
        (TABLE.replace("1.5", "inf"), "costs 'inf'"),
        (TABLE.replace("1.5", "nan"), "costs 'nan'"),
        (TABLE.replace("1.5", ""), "costs ''"),
        (TABLE.replace(",", ";").replace("1.5", "1,5"), "costs '1,5'.*decimal point"),
        (TABLE.replace("metal,5,0", "metal,5,1"), "answering 'metal' rightly costs 1, expected 0"),
        (TABLE.replace("metal,5,0,1.5", "metal,5,0"), "row 'metal' has 2 costs, expected 3"),
        (",glass,metal,paper\nglass,0,0,0\nmetal,0,0,0\npaper,0,0,0\n", "every mistake is free"),
        (TABLE + "reject,1,2,3\n", "row 'reject' has 3 costs, expected one"),
        (TABLE + "reject,dear\n", "row 'reject' costs 'dear'"),
        (TABLE.replace("\n", ",1\n").replace("r,1\n", "r,reject\n", 1) + "reject,1\n", "both a column and"),
        ('"glass', "no CSV"),
    ],
)
def test_a_table_that_can_not_serve_is_refused_in_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_costs(write(tmp_path, text), LABELS)
    assert "costs.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_no_text_and_a_label_that_is_called_reject(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read: No such file"):
        read_costs(tmp_path / "none.csv", LABELS)
    with pytest.raises(DataError, match="can't be read: Is a directory"):
        read_costs(tmp_path, LABELS)
    with pytest.raises(DataError, match="no CSV in UTF-8"):
        read_costs(write(tmp_path, TABLE, "utf-16"), LABELS)
    with pytest.raises(DataError, match="rename the class folder"):
        read_costs(write(tmp_path, TABLE), (*LABELS, "reject"))
