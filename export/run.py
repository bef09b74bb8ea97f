"""From a run to a bundle that has proven itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edge import bundle as bundles
from edge import golden
from edge.backends import Answers, Backend, Graph, open_graph
from edge.bundle import Bundle
from edge.drift_record import DRIFT
from edge.errors import ExportError
from edge.files import check_place, is_taken
from edge.images import Role
from edge.manifest import Artifact, Precision, Verdict
from edge.parity import compare, judge
from edge.progress import Phase, silent
from export import proof
from export.answers import Answered, answer, by_torch
from export.drift import make_drift
from export.golden import make_golden
from export.graph import OPSET, Answering
from export.graphs import Made, make_graphs
from export.limits import measure
from export.papers import make_manifest, make_page, make_papers
from export.photos import Photos, open_photos
from train import checkpoint
from train.checkpoint import About, Loaded
from train.dataset.split import SPLIT_FILE, Split, read_split

BUNDLE = "bundle"
"""Name of the bundle in its run."""
REFERENCE_BACKEND = "onnxruntime"
"""What judges parity here. A device judges its own backend itself."""
REFERENCE = "PyTorch"
"""What the graphs are compared with, among the names of their files."""


@dataclass(frozen=True)
class Exported:
    """A bundle on the disk."""

    bundle: Bundle

    @property
    def passed(self) -> bool:
        """Whether no artifact failed parity, but where that was allowed."""
        artifacts = self.bundle.manifest.artifacts
        return all(one.verdict is not Verdict.FAIL or one.failure_allowed for one in artifacts)

    @property
    def verdict(self) -> Verdict:
        """The worst of all artifacts."""
        verdicts = {one.verdict for one in self.bundle.manifest.artifacts}
        return next(one for one in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS) if one in verdicts)


def export(
    run: Path,
    output: Path | None,
    precisions: tuple[Precision, ...],
    cache: Path,
    *,
    data: Path | None = None,
    max_error: float | None = None,
    tolerance: float | None = None,
    allow_failed: bool = False,
    phase: Phase = silent,
) -> Exported:
    """Export the best weights of `run` as a bundle, judge each graph on the test photos, and write it.

    `output`: the bundle's folder, in the run by default. `precisions` come beside fp32, which is always
    made. `data`: the photos, where they no longer lie where the run recorded them. `cache`: where zips are
    unpacked. `max_error`: what the rejection thresholds are to keep, 0 to 1; the run's by default. `tolerance`:
    share of the photos, 0 to 1, by which graphs beside fp32 may be less often right; their precision's by default.
    A bundle that fails parity is written too, and says so; `allow_failed`: also, that it was meant to be. `phase`
    opens the progress of each long piece of work. Raises BinsightError.
    """
    target = _target(output or run / BUNDLE)
    loaded, split = _open_run(run, max_error)
    about = loaded.about

    def of_role(role: Role) -> Photos:
        return open_photos(split, role, data, cache)

    photos = of_role(Role.TEST)
    made = make_graphs(loaded, precisions, of_role, tolerance, phase)
    backends = [open_graph(one.graph, REFERENCE_BACKEND) for one in made]
    module = Answering(loaded.classifier, about.temperature, loaded.strangers).eval()
    engines = {backend.info.file: backend.infer for backend in backends}
    with phase("judging on the test photos") as report:
        answerers = {**engines, REFERENCE: by_torch(module)}
        test = answer(photos, about.input, answerers, proof.places(photos), report)
    with phase("looking at the validation photos") as report:
        held = answer(of_role(Role.VAL), about.input, engines, progress=report)
    gate = proof.Gate(tolerance, allow_failed)
    artifacts = tuple(
        _artifact(one, backend, test, held.by_name[one.graph.file], about, gate)
        for one, backend in zip(made, backends, strict=True)
    )
    name, graphs = run.absolute().name, [one.graph for one in made]
    contents = {
        **{graph.file: graph.model for graph in graphs},
        bundles.PARITY_PHOTOS: proof.pack_photos(test, REFERENCE),
        golden.GOLDEN: make_golden(photos, test, REFERENCE, module, about, backends),
        DRIFT: make_drift((held, test), artifacts, about),
        bundles.PARITY_PAGE: make_page(name, about, graphs, artifacts, test, REFERENCE, photos),
        **make_papers(about, split, artifacts),
    }
    manifest = make_manifest(name, about, split, artifacts, dict(backends[0].info.versions))
    return Exported(_prove(bundles.write(target, manifest, contents)))


def _target(folder: Path) -> Path:
    """Return `folder`, if a bundle can be written there: a long export must not end for want of room."""
    if is_taken(folder):
        raise ExportError(f"{folder} exists; name another folder with -o, or remove it")
    try:
        check_place(folder)
    except OSError as error:
        raise ExportError(f"{folder} can't be written ({error.strerror}); name another folder with -o") from error
    return folder


def _open_run(run: Path, max_error: float | None) -> tuple[Loaded, Split]:
    """Return the best weights, with what was asked of them, and the roles of the photos."""
    loaded = checkpoint.load(run / checkpoint.BEST)
    if max_error is not None:
        loaded = replace(loaded, about=replace(loaded.about, max_error=max_error))
    split = read_split(run / SPLIT_FILE)
    if split.labels != loaded.about.labels:
        raise ExportError(f"{run}: labels of the split {split.labels} are not the model's {loaded.about.labels}")
    return loaded, split


def _prove(written: Bundle) -> Bundle:
    """Run the self-test of every artifact that bins will be asked to trust."""
    for artifact in written.manifest.artifacts:
        if artifact.verdict is not Verdict.FAIL:
            model = written.read(artifact.file)
            graph = Graph(artifact.file, artifact.precision, model, written.manifest.input.shape)
            with open_graph(graph, REFERENCE_BACKEND) as backend:
                golden.self_test(written, backend)
    return written


def _artifact(
    made: Made, backend: Backend, test: Answered, validation: Answers, about: About, gate: proof.Gate
) -> Artifact:
    got, tolerance = test.by_name[backend.info.file], gate.tolerance_of(backend.info.precision)
    parity = compare(backend.info, test.by_name[REFERENCE], got, test.truth, about.labels, tolerance)
    verdict, reason = judge(parity, backend.info.precision)
    limits = measure(got, test.truth, validation.strangeness, about)
    return Artifact(
        precision=backend.info.precision,
        runtimes=made.runtimes,
        file=backend.info.file,
        opset=OPSET,
        parity=parity,
        verdict=verdict,
        reason=reason,
        failure_allowed=gate.allow_failed and verdict is Verdict.FAIL,
        remedies=made.remedies,
        reject_threshold=limits.reject_threshold,
        stranger_threshold=limits.stranger_threshold,
        rejection=limits.rejection,
    )
