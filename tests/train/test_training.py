"""The training itself, in this process, on made photos."""

import copy
import csv
import hashlib
import io
import json
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from edge.errors import TrainError, WeightsError
from edge.images import Role, list_photos
from edge.preprocess import preprocess
from export.photos import Photos
from tests.conftest import TinyRun
from tests.made import KINDS, write_photos
from tests.train.jobs import make_job
from train import checkpoint
from train.backbone import Classifier, make_classifier
from train.callbacks import Keeper
from train.dataset.split import read_split
from train.fit import fit
from train.insight import features
from train.phases import Frozen
from train.photos import LabelledFile
from train.recipe import Amp, Augmentation, Optimizer, Recipe
from train.run import train
from train.runs import newest_run, next_run
from train.tuning import FineTuning

QUICK = Recipe(model="resnet18", weights="none", img_size=32, epochs=2, batch_size=16)
RUN_FILES = [
    "args.yaml",
    "results.csv",
    "results.png",
    "confusion_matrix.png",
    "confusion_matrix_normalized.png",
    "predictions.png",
    "labels.txt",
    "metrics.json",
    "report.html",
    "weights/best.pt",
    "weights/last.pt",
    "split.json",
    "predictions.csv",
    "suspects.csv",
    "learning_curve.png",
]


def _files(data: Path) -> list[LabelledFile]:
    return [LabelledFile(path, KINDS.index(path.parent.name)) for path in sorted(data.rglob("*.jpg"))]


def _rows(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "results.csv").read_text().splitlines()))


def test_the_run_folder_holds_all_that_is_promised(tiny_run: TinyRun) -> None:
    for name in RUN_FILES:
        assert (tiny_run.run / name).stat().st_size > 0, name
    rows = _rows(tiny_run.run)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    metrics = json.loads((tiny_run.run / "metrics.json").read_text())
    assert metrics["images"] == 18
    assert np.sum(metrics["confusion"]) == 18
    assert set(metrics["per_class"]) == set(KINDS)
    assert metrics["temperature"] > 0
    assert max(float(row["val_accuracy"]) for row in rows) == pytest.approx(metrics["val_accuracy"])
    assert yaml.safe_load((tiny_run.run / "args.yaml").read_text())["model"] == "resnet18"
    assert (tiny_run.run / "labels.txt").read_text().split() == list(KINDS)
    for name in ("results.png", "confusion_matrix.png", "confusion_matrix_normalized.png", "predictions.png"):
        assert cv2.imread(str(tiny_run.run / name)) is not None


def test_all_photos_are_ranked_by_suspicion(tiny_run: TinyRun) -> None:
    split = read_split(tiny_run.run / "split.json")
    roles = {one.file: (role.value, one.label) for role in Role for one in split.roles[role]}
    rows = list(csv.DictReader((tiny_run.run / "suspects.csv").read_text().splitlines()))
    assert [int(row["rank"]) for row in rows] == list(range(1, 121))
    assert {row["file"]: (row["role"], row["label"]) for row in rows} == roles
    assert all(row["suggested"] in set(KINDS) - {row["label"]} for row in rows)
    assert [float(row["score"]) for row in rows] == sorted(float(row["score"]) for row in rows)


def test_the_metrics_tell_of_suspects_and_of_more_photos(tiny_run: TinyRun) -> None:
    metrics = json.loads((tiny_run.run / "metrics.json").read_text())
    assert 0 <= metrics["suspects"]["flagged"] <= 120
    curve = metrics["learning_curve"]
    assert curve["sizes"] == sorted(curve["sizes"])
    assert curve["sizes"][-1] == pytest.approx(0.8 * 102, abs=1)
    assert curve["overall"]["low"] <= curve["overall"]["then"] <= curve["overall"]["high"]
    assert set(curve["classes"]) == set(KINDS)
    assert curve["summary"].startswith("doubling the photos should ")
    assert "this run's own network, which saw these labels" in metrics["notes"][0]


def test_a_wrong_label_is_shown_in_the_report(tmp_path: Path) -> None:
    """Judged by the network as it came, which has not seen the label."""
    data = write_photos(tmp_path / "photos", 20)
    (data / "disc" / "disc_3.jpg").rename(data / "ring" / "wrong.jpg")
    train(data, tmp_path / "first", replace(QUICK, epochs=6), torch.device("cpu"), tmp_path)
    again = replace(QUICK, weights=str(tmp_path / "first"), epochs=1)
    seen: list[dict[str, torch.Tensor]] = []

    def extract(classifier: Classifier, *rest: Any, **options: Any) -> Any:
        seen.append({key: value.clone() for key, value in classifier.backbone.state_dict().items()})
        return features.extract(classifier, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.outcome.extract", extract)
        trained = train(data, tmp_path / "second", again, torch.device("cpu"), tmp_path)
    given = torch.load(tmp_path / "first" / checkpoint.BEST, weights_only=True)["weights"]
    tuned = torch.load(tmp_path / "second" / checkpoint.BEST, weights_only=True)["weights"]
    assert torch.equal(seen[0]["conv1.weight"], given["conv1.weight"])
    assert not torch.equal(seen[0]["conv1.weight"], tuned["conv1.weight"])
    assert "may have seen these labels" in trained.insight.notes[0]
    rows = list(csv.DictReader((tmp_path / "second" / "suspects.csv").read_text().splitlines()))
    rank = next(int(row["rank"]) for row in rows if row["file"] == "ring/wrong.jpg")
    assert rank <= 6
    assert rows[rank - 1]["suggested"] == "disc"


def test_the_report_names_the_photos_that_were_answered_wrongly(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 10)
    train(data, tmp_path / "run", replace(QUICK, lr=1e-9, epochs=1), torch.device("cpu"), tmp_path)
    page = (tmp_path / "run" / "report.html").read_text()
    part = page[page.index("The most confident mistakes") : page.index("Labels that look wrong")]
    shown = re.findall(r"labelled (\w+)<small><bdi>(\w+)/<wbr>(\S+)</bdi>, (\w+)</small>", part)
    test = {one.file: one.label for one in read_split(tmp_path / "run" / "split.json").roles[Role.TEST]}
    confusion = np.array(json.loads((tmp_path / "run" / "metrics.json").read_text())["confusion"])
    assert len(shown) == confusion.sum() - np.trace(confusion) > 0
    assert all(role == "test" and test[f"{folder}/{file}"] == label for label, folder, file, role in shown)


def test_few_photos_are_no_crash_but_a_sentence(tmp_path: Path) -> None:
    trained = train(
        write_photos(tmp_path / "p", 3), tmp_path / "run", replace(QUICK, epochs=1), torch.device("cpu"), tmp_path
    )
    assert trained.insight.suspects is None
    assert trained.insight.curve is None
    page = (tmp_path / "run" / "report.html").read_text()
    assert "9 photos are too few to tell which labels are wrong" in page
    assert "6 photos in 3 classes are too few for a learning curve" in page
    assert not (tmp_path / "run" / "suspects.csv").exists()


def test_the_network_learned_something(tiny_run: TinyRun) -> None:
    assert json.loads((tiny_run.run / "metrics.json").read_text())["accuracy"] >= 0.7


def test_the_written_accuracy_is_that_of_the_best_weights_on_the_test_photos(tiny_run: TinyRun) -> None:
    """Judged anew from the files alone, photo by photo."""
    loaded = checkpoint.load(tiny_run.run / checkpoint.BEST)
    split, root = read_split(tiny_run.run / "split.json"), list_photos(tiny_run.data, tiny_run.cache).root
    photos = Photos(split, Role.TEST, root)
    right = 0
    with torch.inference_mode():
        for photo in photos:
            tensor = torch.from_numpy(preprocess(photo.data, loaded.about.input)[None])
            right += int(loaded.classifier(tensor).argmax()) == photo.target
    assert json.loads((tiny_run.run / "metrics.json").read_text())["accuracy"] == right / len(photos)


def test_a_frozen_backbone_is_frozen_to_the_bit(tmp_path: Path) -> None:
    """Weights and BatchNorm statistics: the first phase changes the head and nothing else."""
    files = _files(write_photos(tmp_path / "photos", 12))
    recipe = replace(QUICK, weights="somebody's", epochs=2, frozen_epochs=1, frozen_augment=True)
    classifier = make_classifier("resnet18", 3)
    before = {key: value.clone() for key, value in classifier.backbone.state_dict().items()}
    kept: list[dict[str, torch.Tensor]] = []
    job, plain_about = make_job(files, files, recipe, tmp_path / "run", KINDS)

    def about(epoch: int, accuracy: float) -> checkpoint.About:
        kept.append({key: value.clone() for key, value in classifier.backbone.state_dict().items()})
        return plain_about(epoch, accuracy)

    fit(job, classifier, about)
    after_head, after_all = kept[0], kept[-1]
    changed = [key for key, value in before.items() if not torch.equal(value, after_head[key])]
    assert changed == ["fc.weight", "fc.bias"]
    assert not torch.equal(after_all["layer4.0.conv1.weight"], before["layer4.0.conv1.weight"])
    assert not torch.equal(after_all["bn1.running_mean"], before["bn1.running_mean"])


def test_only_the_last_stages_learn_where_that_is_asked_for(tmp_path: Path) -> None:
    files = _files(write_photos(tmp_path / "photos", 8))
    recipe = replace(QUICK, weights="somebody's", epochs=2, frozen_epochs=0, unfreeze="1", weight_decay=0.5)
    classifier = make_classifier("resnet18", 3)
    before = {key: value.clone() for key, value in classifier.backbone.state_dict().items()}
    job, about = make_job(files, files, recipe, tmp_path / "run", KINDS)
    fit(job, classifier, about)
    after = classifier.backbone.state_dict()
    changed = {key.partition(".")[0] for key, value in before.items() if not torch.equal(value, after[key])}
    assert changed == {"layer4", "fc"}


def test_features_are_computed_once_and_teach_the_head_the_same(tmp_path: Path) -> None:
    """A frozen backbone without augmentation: from a table, or photo by photo, the head becomes the same."""
    files = _files(write_photos(tmp_path / "photos", 12))
    recipe = replace(
        QUICK, weights="somebody's", unfreeze="none", epochs=3, augment=Augmentation.NONE, amp=Amp.OFF, dropout=0.0
    )
    torch.manual_seed(0)
    first = make_classifier("resnet18", 3).eval()
    heads = []
    for name in ("table", "photos"):
        classifier = copy.deepcopy(first)
        job, about = make_job(files, files, recipe, tmp_path / name, KINDS)
        seen = features.extract(classifier, job.all_pictures, job.device)
        frozen = {
            role: Frozen(seen[job.numbers[role]], job.pictures[role].targets) for role in (Role.TRAIN, Role.VAL)
        }
        fit(job, classifier, about, frozen if name == "table" else None)
        heads.append(classifier.head.weight.detach())
    assert not torch.equal(heads[0], first.head.weight)
    assert torch.allclose(heads[0], heads[1], atol=1e-4)


def test_weights_are_judged_as_they_are_with_no_epochs(tiny_run: TinyRun, tmp_path: Path) -> None:
    """A model trained elsewhere becomes a whole run, and its accuracy is the one that it had."""
    recipe = replace(QUICK, weights=str(tiny_run.run), epochs=0)
    trained = train(tiny_run.data, tmp_path / "run", recipe, torch.device("cpu"), tmp_path)
    assert trained is not None
    assert trained.best_epoch == 0
    for name in RUN_FILES:
        assert (tmp_path / "run" / name).stat().st_size > 0, name
    assert _rows(tmp_path / "run") == []
    before, after = (
        torch.load(run / checkpoint.BEST, weights_only=True)["weights"] for run in (tiny_run.run, tmp_path / "run")
    )
    assert all(torch.equal(before[key], after[key]) for key in before)
    accuracy = json.loads((tiny_run.run / "metrics.json").read_text())["accuracy"]
    assert trained.scores.accuracy == accuracy


def test_weights_without_a_head_for_these_labels_can_not_be_judged(tiny_run: TinyRun, tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 6)
    (data / "ring").rename(data / "hoop")
    recipe = replace(QUICK, weights=str(tiny_run.run), epochs=0)
    with pytest.raises(WeightsError, match=r"--epochs 0 judges weights as they are.*train at least one epoch"):
        train(data, tmp_path / "run", recipe, torch.device("cpu"), tmp_path)


def test_a_run_gives_its_head_to_one_with_other_labels(tiny_run: TinyRun, tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 8)
    (data / "ring").rename(data / "hoop")
    recipe = replace(QUICK, weights=str(tiny_run.run), epochs=1)
    train(data, tmp_path / "run", recipe, torch.device("cpu"), tmp_path)
    about = checkpoint.load(tmp_path / "run" / checkpoint.BEST).about
    assert "head kept for bars, disc; new for hoop" in about.weights


def test_every_answer_to_a_test_photo_is_written_down(tiny_run: TinyRun) -> None:
    rows = list(csv.DictReader((tiny_run.run / "predictions.csv").read_text().splitlines()))
    test = read_split(tiny_run.run / "split.json").roles[Role.TEST]
    assert [(row["file"], row["label"]) for row in rows] == [(one.file, one.label) for one in test]
    right = np.mean([row["label"] == row["answer"] for row in rows])
    metrics = json.loads((tiny_run.run / "metrics.json").read_text())
    assert right == metrics["accuracy"]
    for row in rows:
        chances = {label: float(row[f"p_{label}"]) for label in KINDS}
        assert sum(chances.values()) == pytest.approx(1, abs=1e-4)
        assert max(chances, key=lambda label: chances[label]) == row["answer"]
    assert np.mean([row["decision"] == "accepted" for row in rows]) == pytest.approx(metrics["coverage"])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process holds after each epoch, from the tenth on: flat within 8 MiB."""
    held: list[float] = []
    end = Keeper.on_train_epoch_end

    def note(self: Keeper, trainer: Any, tuning: Any) -> None:
        end(self, trainer, tuning)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        held.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)

    monkeypatch.setattr(Keeper, "on_train_epoch_end", note)
    recipe = replace(QUICK, model="squeezenet1_1", epochs=40, patience=0, mixup=0.2, ema=0.9)
    train(write_photos(tmp_path / "p", 8), tmp_path / "run", recipe, torch.device("cpu"), tmp_path)
    assert len(held) == 40
    assert np.median(held[-10:]) - np.median(held[10:20]) < 8


@pytest.mark.slow
def test_a_compiled_network_trains_as_the_plain_one(tmp_path: Path) -> None:
    if not shutil.which("g++"):
        pytest.skip("torch.compile needs the Debian package g++")
    files = _files(write_photos(tmp_path / "photos", 6))
    losses = []
    for compiled in (False, True):
        recipe = replace(QUICK, model="squeezenet1_1", compile=compiled, amp=Amp.OFF, dropout=0.0, epochs=1)
        torch.manual_seed(0)
        job, about = make_job(files, files, recipe, tmp_path / str(compiled), KINDS)
        losses.append(fit(job, make_classifier("squeezenet1_1", 3), about).rows[-1].train_loss)
    # Fused arithmetic rounds otherwise, and the steps carry that on.
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)


def test_costs_change_what_the_bin_would_say(tiny_run: TinyRun, tmp_path: Path) -> None:
    costs = tmp_path / "costs.csv"
    costs.write_text("truth,bars,disc,ring\nbars,0,1,1\ndisc,1,0,1\nring,1000,1000,0\n")
    recipe = replace(QUICK, weights=str(tiny_run.run), epochs=0, costs=str(costs))
    train(tiny_run.data, tmp_path / "run", recipe, torch.device("cpu"), tmp_path)
    rows = list(csv.DictReader((tmp_path / "run" / "predictions.csv").read_text().splitlines()))
    before = list(csv.DictReader((tiny_run.run / "predictions.csv").read_text().splitlines()))
    assert sum(row["answer"] == "ring" for row in rows) > sum(row["answer"] == "ring" for row in before)
    about = checkpoint.load(tmp_path / "run" / checkpoint.BEST).about
    assert about.pricing.costs == ((0, 1, 1), (1, 0, 1), (1000, 1000, 0))


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_every_optimizer_brings_the_loss_down(tmp_path: Path, optimizer: Optimizer) -> None:
    data = write_photos(tmp_path / "photos", 12)
    recipe = replace(QUICK, optimizer=optimizer, epochs=3, lr=5e-3 if optimizer is Optimizer.SGD else 2e-3)
    train(data, tmp_path / "run", recipe, torch.device("cpu"), tmp_path)
    losses = [float(row["train_loss"]) for row in _rows(tmp_path / "run")]
    assert losses[-1] < losses[0]


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 8)
    states = []
    for name in ("a", "b"):
        train(data, tmp_path / name, replace(QUICK, amp=Amp.OFF), torch.device("cpu"), tmp_path)
        states.append(torch.load(tmp_path / name / checkpoint.LAST, weights_only=True)["weights"])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_loss_that_is_no_number_in_the_second_epoch_keeps_the_weights_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, kept = FineTuning.training_step, {}

    def break_down(self: FineTuning, batch: Any, index: int) -> torch.Tensor:
        loss = step(self, batch, index)
        if not self.current_epoch:
            return loss
        kept.update(torch.load(tmp_path / "run" / checkpoint.BEST, weights_only=True)["weights"])
        return loss * float("nan")

    monkeypatch.setattr(FineTuning, "training_step", break_down)
    with pytest.raises(TrainError, match=r"in epoch 2: lower --lr, .*the best so far is kept in .*best"):
        train(write_photos(tmp_path / "p", 8), tmp_path / "run", QUICK, torch.device("cpu"), tmp_path)
    best = torch.load(tmp_path / "run" / checkpoint.BEST, weights_only=True)["weights"]
    assert kept.keys() == best.keys()
    assert all(torch.equal(best[key], kept[key]) and torch.isfinite(best[key]).all() for key in best)


def test_a_loss_that_is_no_number_stops(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 8)
    with pytest.raises(TrainError, match=r"loss is not a number in epoch \d+: lower --lr"):
        train(data, tmp_path / "run", replace(QUICK, lr=1e30, epochs=4), torch.device("cpu"), tmp_path)


def test_patience_ends_a_training_that_no_longer_gains(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 8)
    trained = train(
        data, tmp_path / "run", replace(QUICK, lr=1e-9, epochs=30, patience=2), torch.device("cpu"), tmp_path
    )
    rows = (tmp_path / "run" / "results.csv").read_text().splitlines()
    assert len(rows) < 20
    assert trained.best_epoch < len(rows)


def test_the_best_epoch_is_what_best_pt_holds(tiny_run: TinyRun) -> None:
    rows = _rows(tiny_run.run)
    about = checkpoint.load(tiny_run.run / checkpoint.BEST).about
    best = max(rows, key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    assert about.epoch == int(best["epoch"])


def test_progress_draws_a_bar_over_the_whole_training_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    train(write_photos(tmp_path / "p", 8), tmp_path / "run", QUICK, torch.device("cpu"), tmp_path)
    shown = screen.getvalue()
    assert "loss" in shown
    assert "img/s" in shown
    assert "epoch 2/2" in shown


def test_runs_are_numbered_and_the_newest_is_found(tmp_path: Path) -> None:
    first = next_run(Path("photos.zip"), "resnet18", tmp_path)
    assert first == tmp_path / "photos-resnet18"
    with pytest.raises(TrainError, match="no run below"):
        newest_run(tmp_path)
    for number, run in enumerate((first, tmp_path / "photos-resnet18-2")):
        assert next_run(Path("photos.zip"), "resnet18", tmp_path) == run
        (run / "weights").mkdir(parents=True)
        (run / "weights/best.pt").write_bytes(b"")
        os.utime(run / "weights/best.pt", ns=(number, number))
    assert newest_run(tmp_path) == tmp_path / "photos-resnet18-2"


def test_the_split_that_was_used_is_kept_with_digests(tiny_run: TinyRun) -> None:
    split = read_split(tiny_run.run / "split.json")
    for role in Role:
        for one in split.roles[role]:
            assert hashlib.sha256((tiny_run.data / one.file).read_bytes()).hexdigest() == one.sha256
