"""The same network as others take it: float, NCHW, RGB, normalized by whoever feeds it."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from benchmarks.made import SPEC


class _Scaled(nn.Module):
    """A network with probabilities at its end."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return torch.softmax(self.network(images), dim=1)


def write_plain(network: nn.Module, file: Path, labels: tuple[str, ...]) -> Path:
    """Write the network as ONNX, with what Ultralytics wants to read in it."""
    program = torch.onnx.export(
        _Scaled(network).eval(),
        (torch.zeros(1, 3, SPEC.height, SPEC.width),),
        input_names=["images"],
        output_names=["output0"],
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    about = {
        "task": "classify",
        "names": json.dumps(dict(enumerate(labels))),
        "imgsz": json.dumps([SPEC.height, SPEC.width]),
        "stride": "1",
        "batch": "1",
        "channels": "3",
    }
    for key, value in about.items():
        model.metadata_props.add(key=key, value=value)
    model.ir_version = 10
    onnx.save(model, file)
    return file
