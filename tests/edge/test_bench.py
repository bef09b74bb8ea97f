from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge import backends
from edge.backends import Answers, Backend, Graph, Opener, Options, onnxruntime
from edge.backends.base import BackendInfo
from edge.bench import (
    NO_GRAPH,
    NO_PHOTOS,
    Accuracy,
    Bench,
    BenchSettings,
    Judged,
    Row,
    Skipped,
    bench,
    merge,
    recommend,
)
from edge.bundle import Bundle, load, write
from edge.cli.bench import recommendation, run_line, table
from edge.errors import BackendError, DataError
from edge.evaluate import DIGESTS
from edge.latency import Latency
from edge.manifest import Precision, Verdict
from edge.preprocess import Pixels
from edge.progress import Progress
from tests.edge.test_eval_command import with_parity_photos
from tests.edge.test_evaluate import digests, put
from tests.tiny import make_bundle, make_graph

FP32, FP16, INT8 = Precision
QUICK = BenchSettings(rounds=20)


class Fake(onnxruntime.OnnxRuntime):
    """ONNX Runtime under another name, which `answer` may spoil; keeps whether it was closed."""

    made: list[Fake] = []  # noqa: RUF012

    def __init__(self, name: str, graph: Graph, answer: Callable[[Backend, Pixels], Answers]) -> None:
        self.real = onnxruntime.open_cpu(graph, Options())
        self.info = replace(self.real.info, name=name)
        self.answer = answer
        self.closed = False
        Fake.made.append(self)

    def infer(self, batch: Pixels) -> Answers:
        return self.answer(self.real, batch)

    def allocate(self, images: int) -> Pixels:
        return self.real.allocate(images)

    def close(self) -> None:
        self.closed = True


def as_it_is(real: Backend, batch: Pixels) -> Answers:
    return real.infer(batch)


def slow(real: Backend, batch: Pixels) -> Answers:
    """Take 30 times as long."""
    for _ in range(29):
        real.infer(batch)
    return real.infer(batch)


def wrong(real: Backend, batch: Pixels) -> Answers:
    return Answers(np.roll(real.infer(batch).probabilities, 1, axis=1))


def wrong_alone(real: Backend, batch: Pixels) -> Answers:
    """Pass the self-test, which asks of several photos at once, and nothing else."""
    return wrong(real, batch) if len(batch) == 1 else real.infer(batch)


def failing(real: Backend, batch: Pixels) -> Answers:
    raise BackendError("out of memory")


def nan_for_dark(real: Backend, batch: Pixels) -> Answers:
    answers = real.infer(batch)
    return Answers(answers.probabilities * np.nan) if batch[0].max() < 200 else answers


Serve = Callable[..., None]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Let this machine have only the backends that are named, each with what it does to answers."""
    monkeypatch.setattr(Fake, "made", [])

    def only(**engines: Callable[[Backend, Pixels], Answers] | str) -> None:
        for name in list(backends.OPENERS):
            monkeypatch.delitem(backends.OPENERS, name)
        for name, answer in engines.items():
            monkeypatch.setitem(backends.OPENERS, name, Opener(opener(name, answer)))

    yield only
    assert all(one.closed for one in Fake.made)


def opener(name: str, answer: Callable[[Backend, Pixels], Answers] | str) -> Callable[[Graph, Options], Backend]:
    def open_fake(graph: Graph, options: Options) -> Backend:
        if isinstance(answer, str):
            raise BackendError(answer.format(file=graph.file))
        return Fake(name, graph, answer)

    return open_fake


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """fp32 and int8 with 300 parity photos, all of which they answer as PyTorch did."""
    folder = tmp_path_factory.mktemp("bench")
    return load(with_parity_photos(make_bundle(folder / "bare", precisions=(FP32, INT8)), folder / "bundle", 300))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three photos, one of which lies in another class's folder."""
    for label, shown in (("blue", "blue"), ("green", "green"), ("red", "blue")):
        put(tmp_path / "data" / label / "1.png", shown, shade=len(label))
    return tmp_path / "data"


def names(rows: Bench) -> list[tuple[str, str, str]]:
    return [(row.backend.precision.value, row.backend.name, row.judged.verdict.value) for row in rows.rows]


class TestBench:
    def test_every_precision_on_every_backend(self, made: Bundle, serve: Serve) -> None:
        serve(tensorrt=slow, onnxruntime=as_it_is)
        found = bench(made, QUICK)
        assert names(found) == [
            ("fp32", "tensorrt", "PASS"),
            ("int8", "tensorrt", "PASS"),
            ("fp32", "onnxruntime", "PASS"),
            ("int8", "onnxruntime", "PASS"),
        ]
        assert found.skipped == ()
        for row in found.rows:
            assert row.judged.accuracy == Accuracy(1.0, 300)
            assert (row.judged.agreement, row.judged.as_exported) == (1.0, False)
            assert "points of accuracy are lost, with 95 % confidence" in row.judged.reason
            assert 0 < row.latency.p50_ms <= row.latency.p99_ms
            assert row.latency.rounds == 20
            assert row.backend.megabytes == pytest.approx(len(made.read("model.fp32.onnx")) / 1e6)
        slowest = found.rows[0].latency.p50_ms
        assert slowest > 5 * found.rows[2].latency.p50_ms
        assert found.recommended
        assert found.recommended.backend.name == "onnxruntime"

    def test_what_is_wrong_here_fails_however_it_was_exported(self, made: Bundle, serve: Serve) -> None:
        serve(cuda=wrong_alone, onnxruntime=slow)
        found = bench(made, QUICK)
        assert [verdict for *_, verdict in names(found)] == ["FAIL", "FAIL", "PASS", "PASS"]
        its = found.rows[0].judged
        assert its.accuracy == Accuracy(0.0, 300)
        assert (its.agreement, its.as_exported) == (0.0, False)
        assert found.recommended
        assert found.recommended.backend.name == "onnxruntime"

    def test_a_self_test_that_fails_is_a_row(self, made: Bundle, serve: Serve) -> None:
        serve(cuda=wrong, onnxruntime=slow)
        found = bench(made, QUICK)
        assert [verdict for *_, verdict in names(found)] == ["FAIL", "FAIL", "PASS", "PASS"]
        its = found.rows[1].judged
        assert (its.accuracy, its.agreement) == (None, None)
        assert its.reason.startswith("self-test failed in labels: ")

    def test_what_does_not_open_is_skipped_once(self, made: Bundle, serve: Serve) -> None:
        serve(tensorrt="TensorRT is missing", cuda="{file} does not load", onnxruntime=as_it_is, openvino=failing)
        found = bench(made, QUICK)
        assert found.skipped == (
            Skipped(None, "tensorrt", "TensorRT is missing"),
            Skipped(FP32, "cuda", "model.fp32.onnx does not load"),
            Skipped(INT8, "cuda", "model.int8.onnx does not load"),
            Skipped(None, "openvino", "out of memory"),
        )
        assert [backend for _, backend, _ in names(found)] == ["onnxruntime"] * 2

    def test_a_backend_that_takes_none_of_the_graphs(
        self, made: Bundle, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        serve(onnxruntime=as_it_is)
        monkeypatch.setitem(backends.OPENERS, "openvino", Opener(opener("openvino", as_it_is), "openvino"))
        assert bench(made, QUICK).skipped == (Skipped(None, "openvino", NO_GRAPH),)

    def test_a_graph_that_is_not_taken_by_one_backend(
        self, made: Bundle, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        fp32, int8 = made.manifest.artifacts
        manifest = replace(made.manifest, artifacts=(replace(fp32, runtimes=("onnxruntime", "openvino")), int8))
        bundle = write(tmp_path / "bundle", manifest, made.contents)
        serve(onnxruntime=as_it_is)
        monkeypatch.setitem(backends.OPENERS, "openvino", Opener(opener("openvino", "no wheel"), "openvino"))
        found = bench(bundle, QUICK)
        assert found.skipped == (Skipped(None, "openvino", "no wheel"),)
        assert len(found.rows) == 2

    def test_no_backend_at_all(self, made: Bundle, serve: Serve) -> None:
        serve(cuda="no driver", onnxruntime="ONNX Runtime is missing")
        with pytest.raises(BackendError, match=r"cuda: no driver; onnxruntime: ONNX Runtime is missing"):
            bench(made, QUICK)

    def test_so_few_photos_that_nothing_is_shown(self, made: Bundle, serve: Serve, tmp_path: Path) -> None:
        serve(onnxruntime=as_it_is)
        bare = make_bundle(tmp_path / "bare")
        bundle = load(with_parity_photos(bare, tmp_path / "bundle", 30, wrong=1, tolerance=0.08))
        found = bench(bundle, QUICK)
        assert names(found) == [("fp32", "onnxruntime", "INCONCLUSIVE")]
        assert found.recommended is None

    def test_progress_is_told_by_name(self, made: Bundle, serve: Serve) -> None:
        told: dict[str, list[tuple[int, int]]] = {}

        @contextmanager
        def phase(name: str) -> Iterator[Progress]:
            steps = told.setdefault(name, [])
            yield lambda done, total: steps.append((done, total))

        serve(onnxruntime=as_it_is)
        bench(made, QUICK, phase)
        assert {name: steps[-1] for name, steps in told.items()} == {
            "judging fp32 on onnxruntime": (300, 300),
            "judging int8 on onnxruntime": (300, 300),
            "timing": (20, 20),
        }

    def test_opencv_has_its_threads_back(self, made: Bundle, serve: Serve) -> None:
        seen = []

        def look(real: Backend, batch: Pixels) -> Answers:
            seen.append(cv2.getNumThreads())
            return real.infer(batch)

        before = cv2.getNumThreads()
        try:
            cv2.setNumThreads(2)
            serve(onnxruntime=look)
            bench(made, QUICK)
            assert (set(seen), cv2.getNumThreads()) == ({1}, 2)
        finally:
            cv2.setNumThreads(before)


class TestWithoutParityPhotos:
    def test_the_manifests_verdict_stands_for_the_backend_that_it_speaks_of(
        self, serve: Serve, tmp_path: Path
    ) -> None:
        bundle = make_bundle(tmp_path / "bundle")
        serve(cuda=as_it_is, onnxruntime=slow)
        found = bench(bundle, QUICK)
        cuda, cpu = (row.judged for row in found.rows)
        assert cuda == Judged(Verdict.INCONCLUSIVE, NO_PHOTOS)
        parity = bundle.manifest.artifacts[0].parity
        assert cpu == Judged(Verdict.PASS, "", Accuracy(1.0, 3), parity.agreement, as_exported=True)
        assert found.recommended is found.rows[1]

    def test_the_self_test_judges_all_the_same(self, serve: Serve, tmp_path: Path) -> None:
        serve(onnxruntime=wrong)
        found = bench(make_bundle(tmp_path / "bundle"), QUICK)
        assert names(found) == [("fp32", "onnxruntime", "FAIL")]


class TestData:
    def test_accuracy_is_of_the_photos_that_are_named(
        self, made: Bundle, serve: Serve, data: Path, tmp_path: Path
    ) -> None:
        trained = digests(train=[(data / "green" / "1.png").read_bytes()])
        bundle = write(tmp_path / "bundle", made.manifest, {**made.contents, DIGESTS: trained})
        (data / "red" / "broken.png").write_bytes(b"broken")
        serve(onnxruntime=as_it_is)
        found = bench(bundle, replace(QUICK, data=data, cache=tmp_path / "cache"))
        assert [row.judged.accuracy for row in found.rows] == [Accuracy(0.5, 2, trained_on=1, unreadable=1)] * 2
        assert [row.judged.agreement for row in found.rows] == [1.0, 1.0]
        assert [verdict for *_, verdict in names(found)] == ["PASS", "PASS"]

    def test_an_answer_that_is_no_number_fails(
        self, made: Bundle, serve: Serve, data: Path, tmp_path: Path
    ) -> None:
        picture = np.full((32, 32, 3), 100, dtype=np.uint8)
        cv2.imwrite(str(data / "red" / "dark.png"), picture)
        serve(onnxruntime=nan_for_dark)
        its = bench(made, replace(QUICK, data=data, cache=tmp_path / "cache")).rows[0].judged
        assert (its.verdict, its.accuracy, its.agreement) == (Verdict.FAIL, None, 1.0)
        assert "answered [nan nan nan]" in its.reason

    def test_what_can_not_be_measured_on(self, made: Bundle, serve: Serve, data: Path, tmp_path: Path) -> None:
        serve(onnxruntime=as_it_is)
        put(data / "cyan" / "1.png", "blue")
        with pytest.raises(DataError, match="has the classes cyan, which the bundle does not know"):
            bench(made, replace(QUICK, data=data, cache=tmp_path / "cache"))
        with pytest.raises(DataError, match="none does not exist"):
            bench(made, replace(QUICK, data=tmp_path / "none", cache=tmp_path / "cache"))

    def test_data_that_is_not_there_is_said_before_an_engine_opens(
        self, made: Bundle, serve: Serve, tmp_path: Path
    ) -> None:
        serve(onnxruntime=as_it_is)
        with pytest.raises(DataError):
            bench(made, replace(QUICK, data=tmp_path / "none", cache=tmp_path / "cache"))
        assert Fake.made == []


def row(
    name: str, precision: Precision, p50: float, verdict: Verdict = Verdict.PASS, share: float | None = 0.9
) -> Row:
    info = BackendInfo(name, f"model.{precision.value}.onnx", precision, "", 1, (), megabytes=9.184)
    judged = Judged(verdict, "why", None if share is None else Accuracy(share, 400), share)
    return Row(info, judged, Latency(p50, 2 * p50, 1e3 / p50, 300))


class TestRecommendation:
    def test_the_fastest_that_passed(self) -> None:
        rows = (
            row("onnxruntime", FP32, 4.0),
            row("onnxruntime", INT8, 2.0, share=0.897),
            row("openvino", FP16, 1.5, Verdict.INCONCLUSIVE),
            row("openvino", INT8, 1.0, Verdict.FAIL),
        )
        assert recommend(rows) is rows[1]
        assert recommendation(Bench(rows, (), recommend(rows))) == [
            "fp16 on openvino is faster and not recommended: INCONCLUSIVE",
            "int8 on openvino is faster and not recommended: FAIL",
            "recommended: int8 on onnxruntime: 2.0 times as fast as fp32 on onnxruntime, 0.3 points less accurate",
        ]

    @pytest.mark.parametrize(
        ("share", "words"),
        [(0.92, "2.0 points more accurate"), (0.9, "as often right"), (None, "as fast as fp32 on onnxruntime")],
    )
    def test_accuracy_beside_fp32(self, share: float | None, words: str) -> None:
        rows = (row("onnxruntime", FP32, 4.0), row("openvino", FP32, 2.0, share=share))
        (said,) = recommendation(Bench(rows, (), recommend(rows)))
        assert said.endswith(words)

    def test_fp32_itself(self) -> None:
        rows = (row("onnxruntime", FP32, 4.0), row("onnxruntime", INT8, 5.0))
        assert recommendation(Bench(rows, (), recommend(rows))) == ["recommended: fp32 on onnxruntime"]

    def test_none(self) -> None:
        rows = (row("onnxruntime", FP32, 4.0, Verdict.INCONCLUSIVE), row("onnxruntime", INT8, 2.0, Verdict.FAIL))
        assert recommend(rows) is None
        assert recommendation(Bench(rows, (), None)) == [
            "recommended: none, since no row passed (1 FAIL, 1 INCONCLUSIVE)"
        ]

    def test_the_command_that_runs_it_as_it_was_measured(self) -> None:
        assert run_line(row("openvino", INT8, 1.0), Path("my bundle"), Options(max_batch=4)) == (
            "edge-run 'my bundle' SOURCE --precision int8 --backend openvino"
        )
        options = Options(threads=2, max_batch=4, workspace=64 << 20)
        assert run_line(row("tensorrt", FP16, 1.0), Path("bundle"), options) == (
            "edge-run bundle SOURCE --precision fp16 --backend tensorrt --threads 2 --max-batch 4 --workspace 64"
        )


def test_reasons_that_differ_are_all_said() -> None:
    one, same, other = Skipped(FP32, "x", "a"), Skipped(INT8, "x", "a"), Skipped(INT8, "x", "b")
    assert merge([one, same], 2) == [Skipped(None, "x", "a")]
    assert merge([one, other], 2) == [one, other]
    assert merge([one], 2) == [one]
    assert merge([], 2) == []


def test_a_table_fits_a_terminal_and_lines_up() -> None:
    rows = (
        row("onnxruntime", FP32, 34.84),
        row("tensorrt", FP16, 0.0468, share=1.0),
        row("onnxruntime", INT8, 123.4, Verdict.INCONCLUSIVE, share=None),
    )
    lines = table(rows)
    assert lines == [
        "format  backend        MB  accuracy  agrees    p50    p99    FPS  verdict",
        "fp32    onnxruntime  9.18     90.0%   90.0%   34.8   69.7   28.7  PASS",
        "fp16    tensorrt     9.18    100.0%  100.0%  0.047  0.094  21368  PASS",
        "int8    onnxruntime  9.18         -       -    123    247   8.10  INCONCLUSIVE",
    ]
    assert max(map(len, lines)) <= 80


def test_a_graph_that_is_broken_does_not_end_the_others(made: Bundle, serve: Serve, tmp_path: Path) -> None:
    other = make_graph(("red", "green", "blue"), 32)
    bundle = write(tmp_path / "bundle", made.manifest, {**made.contents, "model.fp32.onnx": other})
    serve(onnxruntime=as_it_is)
    assert names(bench(bundle, QUICK)) == [("fp32", "onnxruntime", "FAIL"), ("int8", "onnxruntime", "PASS")]
