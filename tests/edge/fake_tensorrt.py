"""The module `tensorrt` without a GPU: it builds plans out of ONNX graphs."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import onnx

from tests.edge.fake_cudart import FakeCudart
from tests.edge.fake_engine import MAGIC, Runtime, fits
from tests.edge.fake_network import (
    DataType,
    LayerInformationFormat,
    LayerType,
    Network,
    ProfilingVerbosity,
    Shape,
    TensorIOMode,
)

MemoryPoolType = enum.Enum("MemoryPoolType", "WORKSPACE")
BuilderFlag = enum.Enum("BuilderFlag", "TF32 REFIT")
Severity = enum.Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


Distortion = Callable[[np.ndarray], np.ndarray]


class ILogger:
    Severity = Severity

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class FakeTensorRT(ModuleType):
    """The module `tensorrt`, or `tensorrt_rtx`, on one fake GPU."""

    def __init__(
        self,
        cudart: FakeCudart,
        *,
        name: str = "tensorrt",
        version: str = "10.3.0",
        distort: Distortion | None = None,
        refused: frozenset[str] = frozenset(),
        fails: str = "",
    ) -> None:
        """`distort`: turns right probabilities into what engines answer. `refused`: operators that the parser does
        not know. `fails`: the error with which every build ends.
        """
        super().__init__(name)
        self.__version__ = version
        self.cudart, self.distort, self.refused, self.fails = cudart, distort, refused, fails
        self.built = 0
        """Engines that were built."""
        self.loaded = 0
        """Engines that were deserialized."""
        self.logger: Any = None
        """The first that anybody handed in: TensorRT honours no other."""
        for one in (DataType, TensorIOMode, LayerType, LayerInformationFormat, ProfilingVerbosity, MemoryPoolType):
            setattr(self, one.__name__, one)
        for two in (BuilderFlag, NetworkDefinitionCreationFlag, ILogger, IProgressMonitor):
            setattr(self, two.__name__, two)

    def Builder(self, logger: Any) -> Builder:
        self._register(logger)
        return Builder(self)

    def OnnxParser(self, network: Network, logger: Any) -> OnnxParser:
        self._register(logger)
        return OnnxParser(self, network)

    def Runtime(self, logger: Any) -> Runtime:
        self._register(logger)
        return Runtime(self)

    def log(self, text: str, severity: Severity = Severity.ERROR) -> None:
        self.logger.log(severity, text)

    def stamp(self) -> dict[str, str]:
        """What an engine and the device must agree on."""
        return {"library": self.__name__, "version": self.__version__, "gpu": self.cudart.name}

    def _register(self, logger: Any) -> None:
        if not isinstance(logger, ILogger):
            raise TypeError("incompatible constructor arguments")
        self.logger = self.logger or logger


@dataclass(frozen=True)
class ParserError:
    text: str
    name: str = ""
    operator: str = ""

    def desc(self) -> str:
        return self.text

    def node_name(self) -> str:
        return self.name

    def node_operator(self) -> str:
        return self.operator


class OnnxParser:
    def __init__(self, api: FakeTensorRT, network: Network) -> None:
        self._api, self._network = api, network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: bytes) -> bool:
        try:
            nodes = onnx.load_from_string(bytes(model)).graph.node
            self._errors = [
                ParserError(f"no importer for {node.op_type}", node.name, node.op_type)
                for node in nodes
                if node.op_type in self._api.refused
            ]
            if not self._errors:
                self._network.read(bytes(model))
        except Exception as error:  # noqa: BLE001  onnx and protobuf raise what they like
            self._errors = [ParserError(f"Failed to parse the ONNX model: {error}")]
        return not self._errors


class TimingCache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> memoryview:
        return memoryview(self.data)


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Shape, Shape, Shape]] = {}

    def set_shape(self, input: str, min: Shape, opt: Shape, max: Shape) -> None:  # noqa: A002  TensorRT's names
        if any(not low <= middle <= high for low, middle, high in zip(min, opt, max, strict=True)):
            raise ValueError("Dimensions are inconsistent")
        self.shapes[input] = (tuple(min), tuple(opt), tuple(max))


class BuilderConfig:
    def __init__(self, api: FakeTensorRT) -> None:
        self._timed = api.stamp()
        self.flags = {BuilderFlag.TF32}
        self.pools: dict[MemoryPoolType, int] = {}
        self.profiles: list[Profile] = []
        self.cache: TimingCache | None = None
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.progress_monitor: Any = None
        self.builder_optimization_level = 3

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(flag)

    def get_flag(self, flag: BuilderFlag) -> bool:
        return flag in self.flags

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.pools[pool] = pool_size

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
        return TimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        if cache.data and cache.data != self.timings():
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> TimingCache | None:
        return self.cache

    def timings(self) -> bytes:
        return json.dumps({"timed": self._timed}).encode()


class Builder:
    def __init__(self, api: FakeTensorRT) -> None:
        self._api = api

    def create_network(self, flags: int = 0) -> Network:
        if not flags & 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED):
            self._api.cudart.faults.append("create_network: not strongly typed")
        return Network()

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig(self._api)

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> memoryview | None:
        refusal = self._api.fails or self._profile_refusal(network, config)
        if refusal:
            self._api.log(refusal)
            return None
        if not self._tell(config.progress_monitor):
            return None
        self._api.built += 1
        if config.cache is not None:
            config.cache.data = config.timings()
        header = {
            **self._api.stamp(),
            "profiles": [profile.shapes for profile in config.profiles],
            "verbosity": config.profiling_verbosity.name,
            "tf32": config.get_flag(BuilderFlag.TF32),
            "sha256": hashlib.sha256(network.model).hexdigest(),
        }
        return memoryview(MAGIC + json.dumps(header).encode() + b"\n" + network.model)

    def _profile_refusal(self, network: Network, config: BuilderConfig) -> str:
        for tensor in network.inputs:
            shapes = [profile.shapes.get(tensor.name) for profile in config.profiles]
            if -1 in tensor.shape and (not shapes or None in shapes):
                return f"Network has dynamic input {tensor.name}, but no optimization profile has been defined."
            for shape in (one for three in shapes if three for one in three):
                if not fits(shape, tensor.shape, tensor.shape):
                    return f"profile {shape} does not fit {tensor.name} {tensor.shape}"
        return ""

    def _tell(self, monitor: Any) -> bool:
        """Report the phases of a build; return whether it may go on."""
        if monitor is None:
            return True
        monitor.phase_start("Building Engine", None, 2)
        goes_on = all(monitor.step_complete("Building Engine", step) for step in range(2))
        monitor.phase_finish("Building Engine")
        return goes_on
