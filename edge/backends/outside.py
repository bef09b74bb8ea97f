"""Refuses ONNX graphs whose weights lie in other files, by reading just enough protobuf.

A runtime looks for such files below the working folder (ONNX Runtime 1.31), or wherever their path leads
(1.23 and earlier, which JetPack 6 has): bytes that no digest of the manifest covers.
"""

from __future__ import annotations

from collections.abc import Iterator

from edge.backends.base import Graph
from edge.errors import BackendError

MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Kind of message to its fields that lead to tensors: number to kind (onnx.proto, IR version 13)."""

EXTERNAL_DATA, DATA_LOCATION = 13, 14
"""Fields of a tensor: where its bytes lie, and whether that is another file (1) or not (0)."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VARINT = 10


def refuse_outside(graph: Graph) -> None:
    """Raise BackendError where a tensor of the graph lies in another file, or the bytes are no protobuf."""
    try:
        outside = _lies_outside(memoryview(graph.model))
    except ValueError as error:
        raise BackendError(f"{graph.file} does not load: it is no ONNX graph ({error})") from error
    if outside:
        raise BackendError(
            f"{graph.file} keeps weights in another file, which the bundle does not verify; "
            "expected all of them inside it: export the run again"
        )


def _lies_outside(model: memoryview) -> bool:
    left = [("model", model)]
    while left:
        kind, message = left.pop()
        for field, value in _fields(message):
            if kind == "tensor" and (field == EXTERNAL_DATA or (field == DATA_LOCATION and value != 0)):
                return True
            inner = MESSAGES[kind].get(field)
            if inner and isinstance(value, memoryview):
                left.append((inner, value))
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Give every field's number, with its value where that is a varint or bytes, else 0."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value: int | memoryview = 0
        if tag & 7 == VARINT:
            value, at = _varint(message, at)
        elif tag & 7 == BYTES:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif tag & 7 in {FIXED64, FIXED32}:
            at += 8 if tag & 7 == FIXED64 else 4
        else:
            raise ValueError(f"wire type {tag & 7} at byte {at}")
        if at > len(message):
            raise ValueError(f"it ends {at - len(message)} bytes too early")
        yield tag >> 3, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number at `at`, and where it ends."""
    value = 0
    for count, byte in enumerate(message[at : at + MAX_VARINT]):
        value |= (byte & 127) << 7 * count
        if byte < 128:
            return value, at + count + 1
    raise ValueError(f"number without an end at byte {at}")
