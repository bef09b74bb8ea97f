from pathlib import Path

import pytest

from edge.errors import DataError, UsageError
from tests.train.fakes import fake_photo
from train.dataset.groups import group_keys

NAMES = ("glass/bin7/2024-05-01/a_1.jpg", "glass/bin8/2024-05-01/b_2.jpg", "metal/bin7/2024-05-02/c_3.jpg")
SPLIT = ("test/glass/bin8/x.jpg", "train/glass/bin7/x.jpg", "val/metal/bin9/x.jpg")


def _keys(spec: str, names: tuple[str, ...] = NAMES) -> tuple[str, ...]:
    return group_keys(spec, [fake_photo(name) for name in names])


class TestFolder:
    def test_is_counted_from_the_class_folder(self) -> None:
        assert _keys("folder:1") == ("bin7", "bin8", "bin7")
        assert _keys("folder:2") == ("2024-05-01", "2024-05-01", "2024-05-02")

    def test_is_below_the_class_of_a_split_too(self) -> None:
        assert _keys("folder:1", SPLIT) == ("bin8", "bin7", "bin9")

    def test_a_file_is_no_folder(self) -> None:
        words = "2 of 3 photos have no group by --group-by folder:2, the first is glass/bin8/b.jpg; give each"
        with pytest.raises(DataError, match=words):
            _keys("folder:2", ("glass/bin7/day/a.jpg", "glass/bin8/b.jpg", "metal/c.jpg"))

    @pytest.mark.parametrize("level", ["0", "-1", "x", "1.5", " 1", "²", "1" * 5000])
    def test_a_level_is_a_whole_number_from_1(self, level: str) -> None:
        with pytest.raises(UsageError, match="has no level, expected a whole number from 1, as in folder:1"):
            _keys(f"folder:{level}")


class TestName:
    def test_the_first_group_is_the_key(self) -> None:
        assert _keys("name:/(.)_([0-9])") == ("a", "b", "c")

    def test_without_a_group_the_match_is_the_key(self) -> None:
        assert _keys("name:bin[0-9]+") == ("bin7", "bin8", "bin7")

    def test_colons_belong_to_the_expression(self) -> None:
        assert _keys("name:(?:glass|metal)/(bin.)") == ("bin7", "bin8", "bin7")

    @pytest.mark.parametrize("pattern", ["bin7", "bin(7)", "bin(8)?7", "x*"])
    def test_photos_that_do_not_match_are_counted(self, pattern: str) -> None:
        with pytest.raises(DataError, match=r"[123] of 3 photos have no group .* the first is glass/bin"):
            _keys(f"name:{pattern}")

    def test_what_is_no_expression_is_refused(self) -> None:
        with pytest.raises(UsageError, match=r"--group-by name:\(bin is no regular expression: missing \)"):
            _keys("name:(bin")


class TestTable:
    def _write(self, folder: Path, text: str, encoding: str = "utf-8") -> str:
        (folder / "bins.csv").write_bytes(text.encode(encoding))
        return f"csv:{folder / 'bins.csv'}:site"

    def test_names_photos_by_their_path(self, tmp_path: Path) -> None:
        rows = "".join(f"{name},site {number % 2},{number}\r\n" for number, name in enumerate(NAMES))
        spec = self._write(tmp_path, f"file,site,day\r\n{rows}other/z.jpg,unused\r\n,no\r\n,name\r\n", "utf-8-sig")
        assert _keys(spec) == ("site 0", "site 1", "site 0")

    def test_names_photos_by_bare_names_where_no_two_share_one(self, tmp_path: Path) -> None:
        spec = self._write(tmp_path, f'file,site\na_1.jpg,north\n./{NAMES[1]},south\n\nc_3.jpg,"east, old"\n')
        assert _keys(spec) == ("north", "south", "east, old")

    def test_a_path_goes_before_a_bare_name(self, tmp_path: Path) -> None:
        spec = self._write(tmp_path, "file,site\nx.jpg,any\n" + "".join(f"{name},{name[:3]}\n" for name in SPLIT))
        assert _keys(spec, SPLIT) == ("tes", "tra", "val")

    def test_a_bare_name_of_two_photos_is_refused(self, tmp_path: Path) -> None:
        spec = self._write(tmp_path, "file,site\nx.jpg,north\n")
        words = r"names x.jpg, which 3 photos are called \(test/glass/bin8/x.jpg, train/glass/bin7/x.jpg\); write"
        with pytest.raises(DataError, match=words):
            _keys(spec, SPLIT)

    def test_photos_without_a_row_or_a_value_are_counted(self, tmp_path: Path) -> None:
        spec = self._write(tmp_path, f"file,site\n{NAMES[0]},north\n{NAMES[1]}, \n{NAMES[2]}\n")
        with pytest.raises(DataError, match=rf"2 of 3 photos have no group by .* the first is {NAMES[1]}"):
            _keys(spec)

    def test_two_values_for_one_photo_are_refused(self, tmp_path: Path) -> None:
        spec = self._write(tmp_path, "file,site\na_1.jpg,north\na_1.jpg,north\na_1.jpg,south\n")
        with pytest.raises(DataError, match=r"gives a_1.jpg two values, 'north' and 'south'; leave one"):
            _keys(spec)

    def test_a_column_that_is_not_there_is_refused_with_the_nearest(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"has no column 'site', .* the nearest it has: sites"):
            _keys(self._write(tmp_path, "file,sites,colour\n"))
        with pytest.raises(DataError, match=r"has no column 'file', .* the nearest it has: files"):
            _keys(self._write(tmp_path, "files,site,colour\n"))
        with pytest.raises(DataError, match="the nearest it has: none, it is empty"):
            _keys(self._write(tmp_path, ""))

    def test_a_table_that_can_not_be_read_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"bins.csv can't be read: No such file"):
            _keys(f"csv:{tmp_path / 'bins.csv'}:site")
        with pytest.raises(DataError, match=r"can't be read: Is a directory"):
            _keys(f"csv:{tmp_path}:site")
        with pytest.raises(DataError, match=r"bins.csv is no CSV file in UTF-8"):
            _keys(self._write(tmp_path, "file,site\na.jpg,köln\n", "latin-1"))
        with pytest.raises(DataError, match=r"bins.csv is no CSV file in UTF-8: field larger"):
            _keys(self._write(tmp_path, "file,site\na.jpg," + "x" * 200_000))

    @pytest.mark.parametrize("rest", ["bins.csv", ":site", "bins.csv:"])
    def test_needs_a_file_and_a_column(self, rest: str) -> None:
        with pytest.raises(
            UsageError, match=r"lacks the column, expected csv:FILE:COLUMN, as in csv:bins.csv:site"
        ):
            _keys(f"csv:{rest}")


@pytest.mark.parametrize("spec", ["folders:1", "folder", "folder:", "", "1", "bin7", "Folder:1"])
def test_a_form_that_is_not_known_is_refused(spec: str) -> None:
    with pytest.raises(
        UsageError, match="is not known, expected folder:N, name:REGEX or csv:FILE:COLUMN; did you mean"
    ):
        _keys(spec)
    if spec == "folders:1":
        with pytest.raises(UsageError, match=r"did you mean folder\?"):
            _keys(spec)
