"""Boards that are fed as the daemon feeds them, from scenes that the project draws."""

from __future__ import annotations

import time
from collections.abc import Mapping

from edge.board import Board
from edge.decision import Decision
from edge.drift import WATCHED, Against, Drift, Index
from edge.event import DEPOSIT, BundleName, Deposit, Draft, Latency, draft
from edge.preprocess import Pixels
from edge.scene import SceneSettings, frames, script
from edge.snapshot import Part, Served, Vitals, Waiting
from edge.sources.base import Counts, Frame

SERVED = Served(
    name="waste", version="3fa9" * 16, precision="int8", backend="onnxruntime", provider="CPUExecutionProvider",
    file="model.int8.onnx", verdict="PASS", judged_on="onnxruntime", images=379, agreement=0.9894, accuracy=0.9314,
)  # fmt: skip

STEPS_MS = {"watch": 0.6, "preprocess": 0.9, "infer": 11.0, "total": 12.8, "event": 34.0}

ANSWERS: tuple[Mapping[str, float], ...] = (
    {"glass": 0.93, "plastic": 0.04, "metal": 0.02, "paper": 0.006, "cardboard": 0.003, "trash": 0.001},
    {"paper": 0.71, "cardboard": 0.27, "trash": 0.01, "glass": 0.005, "metal": 0.003, "plastic": 0.002},
    {"plastic": 0.44, "glass": 0.38, "metal": 0.11, "trash": 0.05, "paper": 0.01, "cardboard": 0.01},
    {"metal": 0.997, "glass": 0.001, "trash": 0.001, "paper": 0.0005, "plastic": 0.0003, "cardboard": 0.0002},
)


def pictures(count: int, width: int = 640, height: int = 480) -> list[Pixels]:
    """Return a frame of each deposit of a scene, in which it lies still."""
    settings = SceneSettings(seed=3, deposits=count, width=width, height=height, fps=2.0)
    waiting, found = script(settings), []
    for seconds, image in frames(settings):
        if waiting and waiting[0].settles <= seconds < waiting[0].leaves:
            waiting = waiting[1:]
            found.append(image)
    return found


def a_decision(probabilities: Mapping[str, float], reason: str = "", total: float = 12.8) -> Draft[Deposit]:
    label = max(probabilities, key=lambda name: probabilities[name])
    deposit = Deposit(
        label=label,
        confidence=probabilities[label],
        decision=Decision.REJECTED if reason else Decision.ACCEPTED,
        probabilities=dict(probabilities),
        frame_age_ms=total + 21,
        latency_ms=Latency(0.9, 11.0, total),
        frames_seen=3,
        bundle=BundleName("waste", "0" * 64),
        precision="int8",
        backend="onnxruntime",
        **({"reason": reason} if reason else {}),
    )
    return draft(deposit, DEPOSIT, "kitchen-3")


def a_drift(*drifted: tuple[str, Against]) -> Drift:
    """Compare all that can be, as after some hundred deposits, and find these drifted."""
    indices = tuple(
        Index(of, against, 0.4173 if (of, against) in drifted else 0.031, 0.104, (of, against) in drifted)
        for against in Against
        for of in WATCHED
    )
    return Drift(400, 1630, 606, indices)


def tell_frame(board: Board, image: Pixels, state: str = "empty") -> None:
    """Tell of one frame as the loop does, its classification included."""
    board.enter(Part.CAMERA)
    frame = Frame(image, time.monotonic(), 0.0)
    board.enter(Part.INFERENCE)
    for step, milliseconds in STEPS_MS.items():
        board.timed(step, milliseconds * (1 + (id(frame) >> 4) % 7 / 10))
    board.enter(Part.LOOP)
    board.frame(frame, state)


def fill(board: Board, seen: list[Pixels]) -> None:
    """Tell all that a bin of some hours would have told."""
    board.serves(SERVED)
    board.camera("ok", (), "2026-11-21T09:12:44.000Z")
    board.drift(a_drift())
    for number, image in enumerate(seen):
        tell_frame(board, image)
        answer = ANSWERS[number % len(ANSWERS)]
        board.decision(a_decision(answer, {2: "unsure", 7: "stranger"}.get(number, "")), image)
    for _ in range(100):
        tell_frame(board, seen[0])
    board.vitals(
        Vitals(Counts(48_211, 312, 2), outbox=Waiting(3, 2154, 4.2, 0, 0), sinks={"mqtt": True, "webhook": False})
    )
    board.enter(Part.CAMERA)
