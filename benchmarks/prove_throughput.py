"""The proof that data never holds training up: against photos that lie in memory, and against the plain recipe."""

from __future__ import annotations

import gc
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.record import DATA, WORK, Row, keep
from benchmarks.scale import make_photos
from edge.images import Listing, Photo, list_photos
from train.augment import Augment
from train.backbone import Classifier, make_classifier
from train.device import choose_device, use_bf16
from train.loaders import auto_workers, train_loader
from train.photos import LabelledFile, open_pictures
from train.recipe import Amp, Recipe
from train.zoo import IMAGENET

LEAST_OF_RESIDENT, LEAST_OF_PLAIN = 0.95, 1.3
PLAIN_WORKERS = 2

Batches = Iterable[tuple[Tensor, Tensor]]
"""uint8 [n, size, size, 3] BGR, or for the plain recipe float32 [n, 3, size, size] RGB, and int64 [n]."""
Step = Callable[[Tensor, Tensor], object]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    photos: int = 768
    epochs: int = 3
    """Measured, after one that warms up and fills the cache."""
    recipe: Recipe = field(default_factory=lambda: Recipe(train_size=224))
    made: bool = False
    """Whether the photos are drawn, even where TrashNet is there."""


FULL = Size()


def prove_throughput(size: Size = FULL, work: Path = WORK / "throughput") -> bool:
    """Train in three ways, epoch by epoch in turn, and compare the medians of their images per second."""
    device = choose_device("auto")
    shutil.rmtree(work, ignore_errors=True)
    ours, resident, plain = three_ways(size, work, device)
    rates: dict[str, list[float]] = {"ours": [], "resident": [], "plain": []}
    for epoch in range(1 + size.epochs):
        for name, run in (("ours", ours), ("resident", resident), ("plain", plain)):
            rate = run(epoch)
            sys.stderr.write(f"epoch {epoch}, {name}: {rate:.1f} images/s\n")
            rates[name].append(rate)
    rows, passed = _judge(rates)
    what = f"{size.recipe.model} at {size.recipe.view_size}, {size.photos} photos, medians of {size.epochs} epochs"
    keep("throughput", f"{what} after the first, the three in turn, on {device.type}", rows)
    return passed


def _judge(rates: dict[str, list[float]]) -> tuple[list[Row], bool]:
    ours, resident, plain = (median(rates[name][1:]) for name in ("ours", "resident", "plain"))
    rows = [
        ("cache, augmentation and loader: images a second", f"{ours:.1f}", ""),
        ("the same loop on pixels in memory, no augmentation", f"{resident:.1f}", ""),
        ("share of it", f"{ours / resident:.1%}", f"at least {LEAST_OF_RESIDENT:.0%}"),
        (f"plain recipe, fp32, {PLAIN_WORKERS} workers: images a second", f"{plain:.1f}", ""),
        ("times that of the plain recipe", f"{ours / plain:.2f}", f"at least {LEAST_OF_PLAIN}"),
    ]
    return rows, ours >= LEAST_OF_RESIDENT * resident and ours >= LEAST_OF_PLAIN * plain


def three_ways(size: Size, work: Path, device: torch.device) -> list[Callable[[int], float]]:
    """Return the three ways of training an epoch, each from its number to images per second."""
    recipe = size.recipe
    listing = _photos(size, work)
    # Spread over all classes: the listing is in order of their names.
    chosen = listing.photos[:: max(1, len(listing.photos) // size.photos)][: size.photos]
    files = [LabelledFile(photo.path, listing.labels.index(photo.label)) for photo in chosen]
    pictures = open_pictures(files, recipe, work / "cache", training=True)
    workers, on_gpu = auto_workers(device.type == "cuda"), device.type == "cuda"
    loader = train_loader(pictures, recipe, recipe.batch_size, workers=workers, pin=on_gpu)
    augment = Augment(recipe)

    def cached(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]  as Lightning does
        for batch in loader:
            canvases = batch.canvases.to(device, non_blocking=True)
            targets = batch.targets.to(device, non_blocking=True)
            yield augment(canvases, batch.aspects, batch.keys), targets

    ready = list(cached(0))
    folder = _as_folders(chosen, work / "folders")
    classes = len(listing.labels)
    bf16 = use_bf16(Amp.AUTO, device)
    fast = _step(_classifier(recipe, classes, device), device, bf16)
    same = _step(_classifier(recipe, classes, device), device, bf16)
    # Its network has the same memory layout as ours, which a plain recipe would not ask for: the harder rival.
    slow = _step(_classifier(recipe, classes, device).backbone, device, bf16=False)
    plain = _plain_loader(folder, recipe)
    return [
        lambda epoch: _rate(cached(epoch), fast, device),
        lambda epoch: _rate(ready, same, device),
        lambda epoch: _rate(plain, slow, device),
    ]


def _photos(size: Size, work: Path) -> Listing:
    if DATA.is_file() and not size.made:
        return list_photos(DATA, WORK / "cache")
    make_photos(work / "made", size.photos)
    return list_photos(work / "made", work / "cache")


def _as_folders(chosen: Iterable[Photo], folder: Path) -> Path:
    """Link the same photos into class folders, as ImageFolder wants them."""
    for number, photo in enumerate(chosen):
        target = folder / photo.label / f"{number}{photo.path.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(photo.path.absolute())
    return folder


def _plain_loader(folder: Path, recipe: Recipe) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return what torchvision's own documentation builds: decode, crop, flip and jitter in two processes."""
    side = recipe.view_size
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop((side, side), scale=(0.4, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET.mean, IMAGENET.std),
        ]
    )
    dataset = ImageFolder(folder, transform)
    return DataLoader(dataset, recipe.batch_size, shuffle=True, num_workers=PLAIN_WORKERS, persistent_workers=True)


def _classifier(recipe: Recipe, classes: int, device: torch.device) -> Classifier:
    torch.manual_seed(0)
    return make_classifier(recipe.model, classes).to(device).to(memory_format=torch.channels_last)


def _step(network: nn.Module, device: torch.device, bf16: bool) -> Step:
    """Return one step of training: forward, loss, backward, AdamW."""
    optimizer = torch.optim.AdamW(network.train().parameters(), lr=1e-4)

    def step(images: Tensor, targets: Tensor) -> None:
        autocast: AbstractContextManager[object] = torch.autocast(device.type, torch.bfloat16, enabled=bf16)
        with autocast:
            logits = network(images)
        loss = nn.functional.cross_entropy(logits.float(), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def _rate(batches: Batches, step: Step, device: torch.device) -> float:
    """Return the images per second of an epoch."""
    gc.collect()
    images = 0
    begun = time.perf_counter()
    for pictures, targets in batches:
        step(pictures.to(device, non_blocking=True), targets.to(device, non_blocking=True))
        images += len(targets)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return images / (time.perf_counter() - begun)
