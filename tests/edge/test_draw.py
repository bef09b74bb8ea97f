from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge import draw, lettering
from edge.draw import Tile, confusion_matrix, grid, save_png
from edge.errors import ImageError
from edge.preprocess import LETTERBOX_GREY, Pixels, decode

BLUE = (250, 10, 20)
"""Of the photos in these tests, BGR: no frame, text or bar has it."""


def photo(height: int = 60, width: int = 60) -> Pixels:
    return np.full((height, width, 3), BLUE, dtype=np.uint8)


def count(picture: Pixels, colour: tuple[int, ...]) -> int:
    return int((picture == np.array(colour, dtype=np.uint8)).all(axis=2).sum())


def bgr(colour: tuple[int, int, int]) -> tuple[int, ...]:
    return colour[::-1]


class TestGrid:
    def test_is_as_wide_as_its_columns_and_as_high_as_its_rows(self) -> None:
        one, three, four = (grid([Tile(photo(), "a")] * n, columns=3, size=80) for n in (1, 3, 4))
        assert one.dtype == np.uint8
        assert one.shape[2] == 3
        assert one.shape[0] == three.shape[0] < four.shape[0]
        assert one.shape[1] < three.shape[1] == four.shape[1]

    @pytest.mark.parametrize(("good", "colour"), [(True, draw.GREEN), (False, draw.RED)])
    def test_frame_tells_right_from_wrong(self, good: bool, colour: tuple[int, int, int]) -> None:
        framed = grid([Tile(photo(), "a", good=good)], size=80)
        other = draw.RED if good else draw.GREEN
        assert count(framed, bgr(colour)) > 4 * 80
        assert count(framed, bgr(other)) == 0

    def test_frame_surrounds_the_wrong_tile_only(self) -> None:
        page = grid([Tile(photo(), "a", good=True), Tile(photo(), "b", good=False)], size=80)
        middle = page.shape[1] // 2
        assert count(page[:, :middle], bgr(draw.RED)) == 0
        assert count(page[:, middle:], bgr(draw.RED)) > 4 * 80

    def test_neutral_tile_has_no_frame_and_an_unchanged_picture(self) -> None:
        page = grid([Tile(photo(), "")], size=80)
        assert count(page, BLUE) == 80 * 80
        assert count(page, (255, 255, 255)) == page.shape[0] * page.shape[1] - 80 * 80

    @pytest.mark.parametrize("good", [None, True, False])
    def test_picture_is_letterboxed_and_not_covered(self, good: bool | None) -> None:
        page = grid([Tile(photo(30, 60), "a", good=good)], size=80)
        assert count(page, BLUE) == 80 * 40
        assert count(page, (LETTERBOX_GREY,) * 3) == 80 * 40

    def test_caption_is_written_below_and_kept_within_its_tile(self) -> None:
        short, long = (grid([Tile(photo(), "w" * n, "w" * n)], size=80) for n in (2, 200))
        assert short.shape == long.shape
        right = short.shape[1] - 14  # the gap beside the last tile
        assert (long[:, right:] == 255).all()
        assert (long != short).any()

    def test_no_tiles_give_a_white_page(self) -> None:
        assert (grid([]) == 255).all()

    @pytest.mark.parametrize("text", ["Müll", "ガラス", "two\nlines", "bad\udcff", ""])
    def test_takes_any_text(self, text: str) -> None:
        assert grid([Tile(photo(), text, text)], size=80).shape[2] == 3

    def test_refuses_what_is_no_picture(self) -> None:
        with pytest.raises(ImageError, match="expected uint8"):
            grid([Tile(np.zeros((4, 4), dtype=np.uint8), "grey")])


class TestLettering:
    def test_shortens_with_an_ellipsis_to_fit(self) -> None:
        text = lettering.shorten("cardboard with a long name", 14, 100)
        assert text.startswith("card")
        assert text.endswith("...")
        assert lettering.width(text, 14) <= 100

    def test_leaves_what_fits(self) -> None:
        assert lettering.shorten("glass", 14, 100) == "glass"

    def test_drops_accents_where_the_machine_has_no_font(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lettering, "_wide_font", lambda size: None)
        assert lettering.width("Müll", 14) == lettering.width("Mull", 14)


class TestConfusionMatrix:
    LABELS = ("cardboard", "glass", "metal")

    def shades(self, confusion: list[list[int]], normalized: bool) -> list[list[int]]:
        """Return the red level near the corner of each cell: 255 is white."""
        picture = confusion_matrix(confusion, self.LABELS, normalized)
        plan = draw._plan(self.LABELS, [["100"] * 3] * 3)
        offset = 6  # inside the cell, away from its number
        return [
            [
                int(picture[plan.top + r * plan.cell + offset, plan.left + c * plan.cell + offset, 2])
                for c in range(3)
            ]
            for r in range(3)
        ]

    def test_shades_counts_by_the_largest(self) -> None:
        shades = self.shades([[100, 0, 0], [0, 10, 0], [0, 0, 50]], normalized=False)
        assert shades[0][0] == draw.DARKEST[0]
        assert shades[0][0] < shades[2][2] < shades[1][1] < 255
        assert shades[0][1] == 255

    def test_normalized_shades_each_row_by_itself(self) -> None:
        shades = self.shades([[100, 0, 0], [0, 10, 0], [0, 25, 25]], normalized=True)
        assert shades[0][0] == shades[1][1] == draw.DARKEST[0]
        assert shades[2][1] == shades[2][2]
        assert draw.DARKEST[0] < shades[2][2] < 255

    def test_rows_are_truth(self) -> None:
        shades = self.shades([[5, 5, 0], [0, 9, 0], [0, 0, 9]], normalized=True)
        assert shades[0][1] < 255
        assert shades[1][0] == 255

    @pytest.mark.parametrize("normalized", [False, True])
    def test_row_without_photos_is_blank(self, normalized: bool) -> None:
        picture = confusion_matrix([[9, 0, 0], [0, 0, 0], [0, 0, 9]], self.LABELS, normalized)
        plan = draw._plan(self.LABELS, [["100"] * 3] * 3)
        row = picture[plan.top + plan.cell + 1 : plan.top + 2 * plan.cell, plan.left + 1 : plan.left + plan.cell]
        assert (row == 255).all()

    @pytest.mark.parametrize(
        ("share", "text"), [(0.001, "<1"), (0.12, "12"), (0.996, ">99"), (1.0, "100"), (0.994, "99")]
    )
    def test_per_cent(self, share: float, text: str) -> None:
        assert draw._per_cent(share) == text

    def test_numbers_of_a_row(self) -> None:
        row = np.array([1, 3, 0], dtype=np.int64)
        assert draw._numbers(row, normalized=True) == ["25", "75", "0"]
        assert draw._numbers(row, normalized=False) == ["1", "3", "0"]
        assert draw._numbers(np.zeros(3, dtype=np.int64), normalized=True) == ["", "", ""]

    @pytest.mark.parametrize("classes", [2, 6, 13, 30, 31, 60])
    @pytest.mark.parametrize("length", [1, 60])
    def test_any_number_of_classes_and_any_length_of_label(self, classes: int, length: int) -> None:
        labels = tuple(f"{index} {'x' * length}" for index in range(classes))
        picture = confusion_matrix(np.eye(classes, dtype=int).tolist(), labels, True)
        assert picture.dtype == np.uint8
        assert max(picture.shape[:2]) < 1400
        edges = (picture[0], picture[-1], picture[:, 0], picture[:, -1])
        assert all((edge == 255).all() for edge in edges), "something is cut off"

    def test_empty_matrix(self) -> None:
        assert confusion_matrix([[0, 0], [0, 0]], ("a", "b"), True).shape[2] == 3


class TestSavePng:
    def test_round_trip(self, tmp_path: Path) -> None:
        picture = grid([Tile(photo(), "a", good=False)], size=40)
        save_png(tmp_path / "p.png", picture)
        assert np.array_equal(decode((tmp_path / "p.png").read_bytes()), picture)

    def test_failure_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "p.png"
        path.write_bytes(b"old")

        def fail(*args: object) -> None:
            raise OSError("disk full")

        monkeypatch.setattr("edge.files.os.replace", fail)
        with pytest.raises(OSError, match="disk full"):
            save_png(path, photo())
        assert [file.name for file in tmp_path.iterdir()] == ["p.png"]
        assert path.read_bytes() == b"old"
