"""The graph that edge-doctor runs on every engine: `python -m tests.edge.doctor_graph` prints it."""

from __future__ import annotations

import base64
import textwrap

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

OPSET, IR_VERSION = 17, 8


def make_graph() -> bytes:
    """Tell red pictures from blue ones: cast, NCHW, mean, convolution, softmax."""
    weights = np.array([[0, 0, 0.01], [0.01, 0, 0]], np.float32).reshape(2, 3, 1, 1)
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["real"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["picture"], kernel_shape=[8, 8]),
        helper.make_node("Conv", ["picture", "weights"], ["scores"], kernel_shape=[1, 1]),
        helper.make_node("Flatten", ["scores"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "doctor",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 8, 8, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="binsight"
    )
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    print("\n".join(f'"{line}"' for line in textwrap.wrap(base64.b64encode(make_graph()).decode(), 100)))
