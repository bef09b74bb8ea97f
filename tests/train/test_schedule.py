"""Who learns how fast, and what is averaged."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from edge.errors import DataError, UsageError
from train.average import make_average
from train.backbone import make_classifier
from train.callbacks import is_over
from train.check import check_recipe, check_shares
from train.processes import ALONE, Processes
from train.recipe import Amp, Augmentation, Optimizer, Recipe
from train.report.rows import EpochRow
from train.schedule import FLOOR, make_optimizer, open_stages, rate
from train.tally import Tally

RECIPE = Recipe(model="resnet18", weights="somebody's", epochs=10, frozen_epochs=2, warmup=0.25, img_size=32)
CPU = torch.device("cpu")


def test_the_rate_is_flat_then_rises_then_falls_to_its_floor() -> None:
    steps = 10
    rates = [rate(step, RECIPE, steps) for step in range(100)]
    assert rates[:20] == [1.0] * 20
    assert rates[20] == FLOOR
    assert rates[40] == pytest.approx(1.0)
    assert rates[30] == pytest.approx(0.5)
    assert rates[70] == pytest.approx((1 + FLOOR) / 2)
    assert rates[99] < 0.02
    assert rate(1000, RECIPE, steps) == pytest.approx(FLOOR)


def test_a_head_that_learns_alone_has_the_whole_schedule() -> None:
    recipe = replace(RECIPE, unfreeze="none")
    assert rate(0, recipe, 10) == FLOOR
    assert rate(25, recipe, 10) == pytest.approx(1.0)
    assert rate(99, recipe, 10) < 0.02


def test_learning_rates_fall_stage_by_stage_from_the_head() -> None:
    classifier = make_classifier("resnet18", 3)
    recipe = replace(RECIPE, lr=1.0, backbone_lr_share=0.5, stage_lr_decay=0.5)
    rates = {
        id(parameter): group["lr"]
        for group in make_optimizer(classifier, recipe).param_groups
        for parameter in group["params"]
    }
    assert len(rates) == len(list(classifier.parameters()))
    assert rates[id(classifier.head.weight)] == 1.0
    expected = [0.5 * 0.5**depth for depth in range(len(classifier.stages()))]
    for stage, its in zip(reversed(classifier.stages()), expected, strict=True):
        assert {rates[id(one)] for module in stage for one in module.parameters()} <= {its}


def test_without_pretrained_weights_all_layers_learn_alike() -> None:
    optimizer = make_optimizer(make_classifier("resnet18", 3), replace(RECIPE, weights="none", lr=0.1))
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}


def test_biases_and_normalization_are_not_decayed() -> None:
    for kind in Optimizer:
        optimizer = make_optimizer(
            make_classifier("resnet18", 3), replace(RECIPE, optimizer=kind, weight_decay=0.3)
        )
        for group in optimizer.param_groups:
            assert {parameter.ndim > 1 for parameter in group["params"]} == {group["weight_decay"] > 0}


@pytest.mark.parametrize(("unfreeze", "expected"), [("all", None), ("none", 0), ("2", 2)])
def test_what_learns_in_the_second_phase(unfreeze: str, expected: int | None) -> None:
    assert open_stages(replace(RECIPE, unfreeze=unfreeze), make_classifier("resnet18", 3)) == expected


@pytest.mark.parametrize("unfreeze", ["0", "99", "-1", "some", ""])
def test_stages_that_are_not_there(unfreeze: str) -> None:
    with pytest.raises(UsageError, match=r"expected all, none, or how many of the \d stages of resnet18"):
        open_stages(replace(RECIPE, unfreeze=unfreeze), make_classifier("resnet18", 3))


def test_options_that_contradict_each_other() -> None:
    classifier = make_classifier("resnet18", 3)
    check_recipe(RECIPE, classifier, CPU, ALONE)
    for recipe, processes, words in (
        (replace(RECIPE, amp=Amp.FP16), ALONE, "--amp fp16 needs a CUDA GPU"),
        (replace(RECIPE, batch_size=4), Processes(0, 4, 0, 4), "take at least 8"),
        (replace(RECIPE, unfreeze="none", weights="none"), ALONE, "name weights"),
        (replace(RECIPE, augment=Augmentation.NONE, erasing=0.5), ALONE, "leave out --rand-augment, --erasing"),
    ):
        with pytest.raises(UsageError, match=words):
            check_recipe(recipe, classifier, CPU, processes)


def test_the_average_follows_slowly_and_soon_at_first() -> None:
    """Against the recursion itself, weights and statistics alike."""
    classifier = make_classifier("resnet18", 2)
    average = make_average(classifier, 0.9)
    norm: nn.Module = classifier.backbone.get_submodule("bn1")
    expected = torch.zeros(64)
    for update in range(40):
        with torch.no_grad():
            norm.get_buffer("running_mean").fill_(float(update))
            norm.get_parameter("weight").fill_(float(-update))
        average.update_parameters(classifier)
        kept = min(0.9, (1 + update) / (10 + update)) if update else 0.0
        expected = kept * expected + (1 - kept) * update
    its = average.module.backbone.get_submodule("bn1")
    assert torch.allclose(its.get_buffer("running_mean"), expected)
    assert torch.allclose(its.get_parameter("weight"), -expected)
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_means_are_over_photos_and_not_over_batches() -> None:
    tally = Tally()
    right = torch.tensor([[9.0, 0.0]])
    tally.add(torch.tensor(1.0), right.repeat(3, 1), torch.tensor([0, 0, 1]))
    tally.add(torch.tensor(5.0), right, torch.tensor([[0.9, 0.1]]))
    means = tally.means()
    assert (means.loss, means.accuracy, means.images) == (2.0, 0.75, 4)


def _row(epoch: int, accuracy: float) -> EpochRow:
    return EpochRow(epoch, 1.0, 1.0, 1e-3, 1.0, 0.5, 1.0, accuracy, "all")


def test_patience_begins_where_the_backbone_does() -> None:
    """A head that stops gaining does not keep the backbone from learning."""
    rows = [_row(epoch, 0.9 - 0.01 * epoch) for epoch in range(1, 10)]
    recipe = replace(RECIPE, epochs=20, frozen_epochs=4, patience=3)
    assert [is_over(rows[:count], recipe) for count in range(10)] == [False] * 7 + [True] * 3
    alone = replace(recipe, unfreeze="none")
    assert [is_over(rows[:count], alone) for count in range(6)] == [False] * 4 + [True] * 2
    assert not is_over(rows, replace(recipe, patience=0))


def test_every_process_needs_photos() -> None:
    check_shares(4, 2, Processes(0, 2, 0, 2))
    check_shares(1, 0, ALONE)
    for train, val in ((3, 2), (4, 1)):
        with pytest.raises(DataError, match=r"too few for 2 processes; start fewer"):
            check_shares(train, val, Processes(0, 2, 0, 2))


def test_weight_decay_is_the_optimizers_own_unless_it_is_named() -> None:
    assert [replace(RECIPE, optimizer=kind).decay for kind in Optimizer] == [0.02, 0.0, 5e-4]
    assert replace(RECIPE, weight_decay=0.3).decay == 0.3
