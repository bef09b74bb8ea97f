"""What options on a command line may be: names and defaults, beside nothing heavy, so that --help is quick.

Each is also known where it belongs, as `Precision` in edge.manifest.
"""

from __future__ import annotations

from enum import Enum


class Precision(str, Enum):
    """The arithmetic of a graph. It lives in the ONNX file, never in the engine's settings."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


class Flip(str, Enum):
    """A mirror's doing."""

    NONE = "none"
    HORIZONTAL = "horizontal"
    VERTICAL = "vertical"


class Transport(str, Enum):
    """How RTSP carries pictures."""

    TCP = "tcp"
    UDP = "udp"


class Mains(str, Enum):
    """The frequency at which lamps flicker."""

    OFF = "off"
    HZ50 = "50"
    HZ60 = "60"


class Policy(str, Enum):
    """What a full outbox does."""

    DROP_OLDEST = "drop-oldest"
    STOP = "stop"


class Acknowledge(str, Enum):
    """Whose word lets a row go."""

    BROKER = "broker"
    APPLICATION = "application"


BACKENDS = ("auto", "tensorrt", "cuda", "onnxruntime", "openvino")
"""What --backend takes: the first of those that serve, or one of edge.backends.OPENERS."""

AUTO = "auto"
"""The camera chooses by itself."""

MAX_AGE = 1.0
"""Seconds, beyond which nothing is decided on a camera's frame."""

MOTION = "motion"
"""The trigger that is the scene itself."""

HOLD_MS = 300
"""Milliseconds within which signals are one throw."""

MQTT_VERSIONS = ("5", "3.1.1")

LOOPBACK = "127.0.0.1"
"""Where the page is, unless another place is named."""
