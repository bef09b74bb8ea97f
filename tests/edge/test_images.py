from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edge.errors import DataError
from edge.images import Listing, Role, list_images, list_photos, open_data


def put(folder: Path, *names: str) -> Path:
    """Make files; what they hold is of no matter to a listing."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def listing(folder: Path) -> Listing:
    return list_photos(folder, folder.parent / "cache")


def found(folder: Path) -> list[tuple[str, str, Role | None]]:
    return [(photo.name, photo.label, photo.role) for photo in listing(folder).photos]


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        listing(folder)
    for word in (str(folder), *words):
        assert word in str(caught.value), caught.value


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


class TestLayouts:
    def test_class_folders_at_the_root(self, data: Path) -> None:
        put(data, "cat/1.jpg", "dog/2.jpg")
        assert found(data) == [("cat/1.jpg", "cat", None), ("dog/2.jpg", "dog", None)]
        result = listing(data)
        assert (result.root, result.labels) == (data, ("cat", "dog"))
        assert [photo.path for photo in result.photos] == [data / "cat/1.jpg", data / "dog/2.jpg"]

    def test_class_folders_one_folder_down(self, data: Path) -> None:
        put(data, "photos/cat/1.jpg", "photos/dog/2.jpg", "read.me")
        assert found(data) == [("cat/1.jpg", "cat", None), ("dog/2.jpg", "dog", None)]
        assert listing(data).root == data / "photos"

    @pytest.mark.parametrize("top", ["", "photos/"])
    @pytest.mark.parametrize(
        ("names", "roles"),
        [
            (("train", "val", "test"), (Role.TRAIN, Role.VAL, Role.TEST)),
            (("TRAIN", "Valid", "TEST"), (Role.TRAIN, Role.VAL, Role.TEST)),
            (("Training", "validation", "testing"), (Role.TRAIN, Role.VAL, Role.TEST)),
            (("training", "VALIDATION", "Testing"), (Role.TRAIN, Role.VAL, Role.TEST)),
            (("Train", "Test"), (Role.TRAIN, Role.TEST)),
            (("train",), (Role.TRAIN,)),
        ],
        ids=str,
    )
    def test_split_by_every_spelling(
        self, data: Path, top: str, names: tuple[str, ...], roles: tuple[Role, ...]
    ) -> None:
        for name in names:
            put(data, f"{top}{name}/cat/1.jpg", f"{top}{name}/dog/2.jpg")
        expected = [
            (f"{name}/{photo}", label, role)
            for name, role in zip(names, roles, strict=True)
            for photo, label in (("cat/1.jpg", "cat"), ("dog/2.jpg", "dog"))
        ]
        assert found(data) == sorted(expected)
        assert listing(data).labels == ("cat", "dog")

    def test_two_spellings_of_one_role_are_one_role(self, data: Path) -> None:
        put(data, "val/cat/1.jpg", "valid/cat/2.jpg")
        assert {role for _, _, role in found(data)} == {Role.VAL}

    def test_labels_of_all_splits_count(self, data: Path) -> None:
        put(data, "train/cat/1.jpg", "test/dog/2.jpg")
        assert listing(data).labels == ("cat", "dog")

    def test_stray_folders_beside_split_folders_are_refused(self, data: Path) -> None:
        put(data, "train/cat/1.jpg", "test/cat/2.jpg", "extra/cat/3.jpg", "more/4.jpg")
        refused(data, "mixes split folders (test, train) with others (extra, more)")

    def test_split_folders_without_class_folders_are_refused(self, data: Path) -> None:
        # Else train and test would be taken for the two classes.
        put(data, "train/1.jpg", "train/2.jpg", "test/3.jpg")
        refused(data, "test, train")

    def test_a_class_may_be_called_test(self, data: Path) -> None:
        put(data, "test/1.jpg", "cat/2.jpg")
        assert listing(data).labels == ("cat", "test")

    def test_nested_folders_belong_to_their_class(self, data: Path) -> None:
        put(data, "cat/2024/may/1.jpg", "cat/2.jpg", "dog/a/3.jpg")
        assert found(data) == [
            ("cat/2.jpg", "cat", None),
            ("cat/2024/may/1.jpg", "cat", None),
            ("dog/a/3.jpg", "dog", None),
        ]

    def test_a_class_folder_without_images_is_a_class_still(self, data: Path) -> None:
        put(data, "cat/1.jpg", "dog/notes.txt")
        assert listing(data).labels == ("cat", "dog")

    def test_a_zip_is_as_its_folder(self, tmp_path: Path, data: Path) -> None:
        put(data, "photos/Train/cat/1.jpg", "photos/Test/dog/2.JPG", "__MACOSX/photos/Train/cat/._1.jpg")
        archive = tmp_path / "photos.ZIP"
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(data.rglob("*")):
                file.write(path, path.relative_to(data))
        assert (
            found(archive)
            == found(data)
            == [("Test/dog/2.JPG", "dog", Role.TEST), ("Train/cat/1.jpg", "cat", Role.TRAIN)]
        )


class TestFiles:
    def test_every_ending_in_any_case(self, data: Path) -> None:
        names = [
            f"{n}{ending}"
            for n, ending in enumerate((".jpg", ".JPG", ".JPEG", ".PNG", ".WEBP", ".BMP", ".TIF", ".tiff"))
        ]
        put(data, *(f"cat/{name}" for name in names), "cat/a.txt", "cat/b.gif", "cat/c.jpg.part", "cat/jpg")
        assert [photo.path.name for photo in listing(data).photos] == names

    def test_plain_order(self, data: Path) -> None:
        put(data, "class2/1.jpg", "class10/1.jpg", "Class3/1.jpg", "class2/10.jpg", "class2/2.jpg")
        result = listing(data)
        assert result.labels == ("Class3", "class10", "class2")
        assert [photo.name for photo in result.photos] == [
            "Class3/1.jpg",
            "class10/1.jpg",
            "class2/1.jpg",
            "class2/10.jpg",
            "class2/2.jpg",
        ]

    def test_hidden_files_and_folders_are_ignored(self, data: Path) -> None:
        put(
            data,
            "cat/1.jpg",
            "cat/._1.jpg",
            "cat/.thumbs/2.jpg",
            "cat/__MACOSX/3.jpg",
            ".git/4.jpg",
            "__MACOSX/cat/5.jpg",
        )
        assert found(data) == [("cat/1.jpg", "cat", None)]
        assert listing(data).labels == ("cat",)

    def test_links_to_files_are_followed(self, tmp_path: Path, data: Path) -> None:
        put(tmp_path, "store/1.jpg")
        (data / "cat").mkdir()
        (data / "cat" / "linked.jpg").symlink_to(tmp_path / "store" / "1.jpg")
        assert found(data) == [("cat/linked.jpg", "cat", None)]

    def test_a_linked_class_folder_is_one(self, tmp_path: Path, data: Path) -> None:
        put(tmp_path, "store/cats/1.jpg")
        (data / "cat").symlink_to(tmp_path / "store" / "cats")
        assert found(data) == [("cat/1.jpg", "cat", None)]

    def test_links_to_folders_do_not_loop(self, data: Path) -> None:
        put(data, "cat/1.jpg", "dog/2.jpg")
        (data / "cat" / "again").symlink_to(data)
        (data / "cat" / "here").symlink_to(data / "cat")
        assert found(data) == [("cat/1.jpg", "cat", None), ("dog/2.jpg", "dog", None)]

    def test_a_folder_that_is_a_link_to_itself_ends(self, data: Path) -> None:
        (data / "loop").symlink_to(data)
        refused(data, "no images")


class TestRefused:
    def test_empty(self, data: Path) -> None:
        refused(data, "no images in class folders", "class/*.jpg", ".webp")

    def test_images_without_class_folders(self, data: Path) -> None:
        put(data, "1.jpg", "2.jpg")
        refused(data, "no images in class folders", "expected class/*.jpg or train|val|test/class/*.jpg")

    def test_class_folders_without_images(self, data: Path) -> None:
        put(data, "cat/notes.txt", "dog/1.gif")
        refused(data, "no images in class folders")

    def test_missing(self, data: Path) -> None:
        refused(data / "none", "does not exist")

    def test_neither_folder_nor_zip(self, data: Path) -> None:
        put(data, "photos.tar")
        refused(data / "photos.tar", "is neither a folder nor a .zip")

    def test_zip_that_is_none(self, data: Path) -> None:
        put(data, "photos.zip")
        refused(data / "photos.zip", "no zip that can be read")


class TestListImages:
    def test_files_as_named_and_folders_with_all_below(self, data: Path) -> None:
        put(data, "b/2.jpg", "b/c/1.PNG", "b/note.txt", "b/.hidden.jpg", "a.dat")
        assert list_images((data / "a.dat", data / "b")) == (data / "a.dat", data / "b/2.jpg", data / "b/c/1.PNG")

    def test_missing_is_named(self, data: Path) -> None:
        put(data, "1.jpg")
        with pytest.raises(DataError, match=r"none.jpg does not exist"):
            list_images((data / "1.jpg", data / "none.jpg"))

    def test_nothing_found_is_said(self, data: Path) -> None:
        with pytest.raises(DataError, match="no images in"):
            list_images((data,))


def test_open_data_gives_a_folder_as_it_is(data: Path, tmp_path: Path) -> None:
    assert open_data(data, tmp_path / "cache") == data
    assert not (tmp_path / "cache").exists()
