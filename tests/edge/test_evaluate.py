from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edge.backends import open_backend
from edge.bundle import Bundle, write
from edge.errors import BundleError, DataError, GoldenError
from edge.evaluate import DIGESTS, Answer, Evaluation, Judge, Unreadable, evaluate, open_judge
from edge.images import Role
from tests.tiny import make_bundle, make_graph, png, solid

DIGEST_BYTES = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("evaluate") / "bundle")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Nine photos, three a class, no two alike; one blue photo lies among the red ones."""
    folder = tmp_path / "data"
    for label in ("blue", "green", "red"):
        for number in range(3):
            shown = "blue" if (label, number) == ("red", 2) else label
            put(folder / label / f"{number}.png", shown, shade=3 * number + len(label))
    return folder


def put(path: Path, label: str, shade: int = 0) -> bytes:
    """Write a photo of the label's colour, of which `shade` makes one of many."""
    picture = solid(label)
    picture[0, 0] = shade
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(picture))
    return path.read_bytes()


def digests(**roles: Sequence[bytes]) -> bytes:
    """Make split.npz as the export does: the first bytes of each photo's SHA-256, by role."""
    arrays = {
        role: np.array(
            [list(hashlib.sha256(photo).digest()[:DIGEST_BYTES]) for photo in photos], dtype=np.uint8
        ).reshape(-1, DIGEST_BYTES)
        for role, photos in roles.items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def with_split(bundle: Bundle, folder: Path, data: bytes) -> Path:
    return write(folder, bundle.manifest, {**bundle.contents, DIGESTS: data}).folder


def judged(bundle: Path, data: Path) -> Evaluation:
    with open_judge(bundle) as judge:
        return evaluate(judge, data, data.parent / "cache")


def all_photos(data: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(data.rglob("*.png"))]


class TestEvaluate:
    def test_figures(self, made: Bundle, data: Path) -> None:
        result = judged(made.folder, data)
        assert result.scores.images == 9
        assert result.scores.accuracy == pytest.approx(8 / 9)
        assert result.scores.confusion == ((3, 0, 0), (0, 3, 0), (1, 0, 2))
        assert result.scores.per_class["blue"].precision == pytest.approx(3 / 4)
        assert result.scores.per_class["red"].recall == pytest.approx(2 / 3)
        assert (result.trained_on, result.validated_on, result.unreadable) == (0, 0, ())
        assert (result.coverage, result.accepted_accuracy) == (1.0, pytest.approx(8 / 9))
        assert 0 < result.p50_ms <= result.p99_ms
        assert result.backend.name == "onnxruntime"

    def test_progress_reaches_the_end(self, made: Bundle, data: Path) -> None:
        seen: list[tuple[int, int]] = []
        with open_judge(made.folder) as judge:
            evaluate(judge, data, data.parent / "cache", lambda done, total: seen.append((done, total)))
        assert seen == [(number, 9) for number in range(1, 10)]

    def test_photos_that_trained_are_left_out_by_digest(self, made: Bundle, data: Path, tmp_path: Path) -> None:
        trained = [(data / "blue" / "0.png").read_bytes(), (data / "red" / "2.png").read_bytes()]
        chosen = [(data / "green" / "1.png").read_bytes()]
        split = digests(train=[*trained, b"a photo that is not here"], val=chosen, test=[b"another"])
        (data / "red" / "2.png").rename(data / "red" / "renamed.png")
        result = judged(with_split(made, tmp_path / "bundle", split), data)
        assert (result.scores.images, result.trained_on, result.validated_on) == (7, 2, 1)
        assert result.scores.accuracy == 1.0, "the one wrong answer was on a photo that trained"

    def test_all_trained_is_an_error(self, made: Bundle, data: Path, tmp_path: Path) -> None:
        bundle = with_split(made, tmp_path / "bundle", digests(train=all_photos(data)))
        with pytest.raises(DataError, match=r"all 9 photos of .* trained this model"):
            judged(bundle, data)

    def test_all_that_did_not_choose_the_epoch_may_be_judged(
        self, made: Bundle, data: Path, tmp_path: Path
    ) -> None:
        bundle = with_split(made, tmp_path / "bundle", digests(val=all_photos(data), train=[]))
        result = judged(bundle, data)
        assert (result.scores.images, result.trained_on, result.validated_on) == (9, 0, 9)

    @pytest.mark.parametrize("split", [b"no archive", b""])
    def test_broken_digests_are_a_bundle_error(
        self, made: Bundle, data: Path, tmp_path: Path, split: bytes
    ) -> None:
        with pytest.raises(BundleError, match=r"split.npz of the bundle can't be read"):
            judged(with_split(made, tmp_path / "bundle", split), data)

    def test_what_the_bundle_remembers_is_read_as_the_export_writes_it(
        self, made: Bundle, data: Path, tmp_path: Path
    ) -> None:
        pytest.importorskip("torch")
        from export.photos import pack_digests
        from train.dataset.split import Split, SplitFile

        trained = [
            SplitFile(file=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), label="red")
            for path in sorted((data / "red").iterdir())
        ]
        roles = {Role.TRAIN: tuple(trained), Role.VAL: (), Role.TEST: ()}
        packed = pack_digests(Split(str(data), 0, ("blue", "green", "red"), roles))
        result = judged(with_split(made, tmp_path / "bundle", packed), data)
        assert (result.scores.images, result.trained_on) == (6, 3)

    def test_unknown_class_is_named_with_those_known(self, made: Bundle, data: Path) -> None:
        put(data / "cyan" / "1.png", "blue")
        with pytest.raises(
            DataError, match="classes cyan, which the bundle does not know; it knows blue, green, red"
        ):
            judged(made.folder, data)

    def test_a_class_of_the_bundle_may_be_absent(self, made: Bundle, tmp_path: Path) -> None:
        put(tmp_path / "data" / "green" / "1.png", "green")
        result = judged(made.folder, tmp_path / "data")
        assert (result.scores.images, result.scores.accuracy) == (1, 1.0)
        assert result.scores.per_class["red"].support == 0

    def test_broken_images_are_counted_and_not_judged(self, made: Bundle, data: Path) -> None:
        (data / "red" / "broken.png").write_bytes(b"broken")
        (data / "blue" / "cut.png").write_bytes((data / "blue" / "0.png").read_bytes()[:60])
        result = judged(made.folder, data)
        assert result.scores.images == 9
        assert [(one.path.name, bool(one.reason)) for one in result.unreadable] == [
            ("cut.png", True),
            ("broken.png", True),
        ]

    def test_a_link_to_nothing_is_counted_as_unreadable(self, made: Bundle, data: Path) -> None:
        (data / "red" / "gone.png").symlink_to(data / "nowhere.png")
        result = judged(made.folder, data)
        assert result.scores.images == 9
        assert [one.path.name for one in result.unreadable] == ["gone.png"]

    def test_nothing_readable_is_an_error(self, made: Bundle, tmp_path: Path) -> None:
        (tmp_path / "data" / "red").mkdir(parents=True)
        (tmp_path / "data" / "red" / "1.png").write_bytes(b"broken")
        with pytest.raises(DataError, match=r"none of the 1 photos of .* can be read"):
            judged(made.folder, tmp_path / "data")


class TestThreshold:
    def test_coverage_and_accuracy_of_what_is_accepted(self, tmp_path: Path) -> None:
        bundle = make_bundle(tmp_path / "bundle", reject_threshold=0.9).folder
        data = tmp_path / "data"
        for number in range(3):
            put(data / "red" / f"{number}.png", "red", number)
        grey = solid("red") // 2 + solid("green") // 2  # as near to red as to green: half sure at most
        (data / "red" / "unsure.png").write_bytes(png(grey))
        put(data / "green" / "wrong.png", "blue")
        result = judged(bundle, data)
        assert result.coverage == pytest.approx(4 / 5)
        assert result.accepted_accuracy == pytest.approx(3 / 4)

    def test_nothing_accepted(self, tmp_path: Path, data: Path) -> None:
        bundle = make_bundle(tmp_path / "bundle", reject_threshold=1.5).folder
        result = judged(bundle, data)
        assert (result.coverage, result.accepted_accuracy) == (0.0, 0.0)
        assert result.scores.accuracy == pytest.approx(8 / 9)

    def test_strangers_are_rejected_however_sure_the_answer(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        put(data / "red" / "1.png", "red")
        (data / "red" / "dark.png").write_bytes(png(solid("red") // 5 * 3))
        (data / "red" / "unsure.png").write_bytes(png(solid("red") // 2 + solid("green") // 2))
        plain = judged(make_bundle(tmp_path / "plain", reject_threshold=0.9).folder, data)
        assert (plain.coverage, plain.rejected_unsure, plain.rejected_stranger) == (pytest.approx(2 / 3), 1, 0)
        options = {"reject_threshold": 0.9, "stranger_threshold": 0.3}
        both = judged(make_bundle(tmp_path / "both", strangeness=True, **options).folder, data)
        assert (both.coverage, both.rejected_unsure, both.rejected_stranger) == (pytest.approx(1 / 3), 0, 2)
        assert both.accepted_accuracy == 1.0
        assert both.scores == plain.scores, "what the network answers is not what the rule makes of it"

    def test_with_costs_the_accepted_label_is_the_cheapest(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        (data / "red").mkdir(parents=True)
        (data / "red" / "unsure.png").write_bytes(png(solid("red") // 5 * 2 + solid("green") // 2))
        assert judged(make_bundle(tmp_path / "plain").folder, data).accepted_accuracy == 0.0
        costs = ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (50.0, 50.0, 0.0))
        assert judged(make_bundle(tmp_path / "dear", costs=costs).folder, data).accepted_accuracy == 1.0

    @pytest.mark.parametrize(("step", "coverage"), [(0.0, 1.0), (math.inf, 0.0)])
    def test_compares_as_the_bin_does(self, made: Bundle, tmp_path: Path, step: float, coverage: float) -> None:
        # The confidence itself is accepted; the next larger float64, which float32 can't tell from it, is not.
        picture = solid("red")
        with open_backend(made) as backend:
            confidence = float(backend.infer(picture[None]).probabilities.max())
        threshold = math.nextafter(confidence, step) if step else confidence
        bundle = make_bundle(tmp_path / "bundle", reject_threshold=threshold).folder
        (tmp_path / "data" / "red").mkdir(parents=True)
        (tmp_path / "data" / "red" / "1.png").write_bytes(png(picture))
        assert judged(bundle, tmp_path / "data").coverage == coverage


class TestJudge:
    def test_answers_in_order_with_the_unreadable_among_them(self, made: Bundle, data: Path) -> None:
        (data / "broken.png").write_bytes(b"broken")
        paths = [data / "red/0.png", data / "broken.png", data / "none.png", data / "blue/0.png"]
        with open_judge(made.folder) as judge:
            results = list(judge.answer(paths))
        assert [type(result) for result in results] == [Answer, Unreadable, Unreadable, Answer]
        assert [result.path for result in results] == paths
        answers = [result for result in results if isinstance(result, Answer)]
        assert [int(answer.probabilities.argmax()) for answer in answers] == [2, 0]
        assert all(answer.probabilities.shape == (3,) and answer.latency_ms > 0 for answer in answers)

    def test_is_not_opened_where_the_self_test_fails(self, made: Bundle, tmp_path: Path) -> None:
        other = make_graph(("red", "green", "blue"), 32)
        folder = write(tmp_path / "bundle", made.manifest, {**made.contents, "model.fp32.onnx": other}).folder
        with pytest.raises(GoldenError), open_judge(folder):
            pytest.fail("the judge was opened")

    def test_without_a_threshold_everything_is_accepted(self, made: Bundle) -> None:
        with open_judge(made.folder) as judge:
            assert isinstance(judge, Judge)
            assert (judge.rule.reject_threshold, judge.rule.stranger_threshold, judge.rule.costs) == (None,) * 3


def test_role_names_are_the_names_in_the_file() -> None:
    assert [role.value for role in Role] == ["train", "val", "test"]
