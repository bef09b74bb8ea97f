"""edge-doctor as a real process, and what a bundle and a configuration need, for real."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge.backends import Options, open_backend
from edge.backends.trt import cudart
from edge.bundle import write
from edge.cli.doctor import lines, verdict
from edge.doctor import needs, network
from edge.doctor.finding import Area, State, fail, ok, warn
from edge.intake import IntakeSettings
from edge.manifest import Verdict
from edge.outlets import OutletSettings
from edge.sinks.mqtt_settings import MqttSettings
from edge.sinks.tls import TlsFiles
from edge.sinks.webhook import WebhookSettings
from edge.web import WebSettings
from tests.broker import Broker, free_port, mosquitto
from tests.certificates import Certificates
from tests.edge.fake_gpu import FakeCudart, FakeTensorRT
from tests.made import command, one_line_error
from tests.tiny import make_bundle

ELSEWHERE = """
import sys, platform
sys.modules["fcntl"] = sys.modules["grp"] = None
platform.system = lambda: "Windows"
from edge.cli.doctor import main
main()
"""


class TestCommand:
    def test_a_configuration_whole(self, tmp_path: Path) -> None:
        """What this machine is like, nobody knows: the rest is known."""
        make_bundle(tmp_path / "bundle")
        config = tmp_path / "bin.toml"
        config.write_text(
            'bundle = "bundle"\nsource = "demo://"\nevents = "out/events.jsonl"\nflap = ["true"]\nweb = 0\n'
        )
        (tmp_path / "out").mkdir()
        done = command("edge-doctor", "--config", config, "--json")
        told = json.loads(done.stdout)
        found = {one["check"]: one for one in told["findings"]}
        assert done.returncode == (0 if told["runs"] else 1)
        assert {frozenset(one) for one in told["findings"]} == {frozenset({"check", "state", "found", "mend"})}
        assert {one["state"] for one in told["findings"]} <= {"ok", "warn", "fail", "absent"}
        assert (found["bundle"]["state"], found["source"]["state"]) == ("ok", "ok"), found
        assert (found["flap"]["state"], found["page"]["state"]) == ("ok", "ok"), found
        assert found["source"]["found"].startswith("demo:// gave a picture of ")
        assert "passes its self-test" in found["bundle"]["found"]
        assert [path.name for path in (tmp_path / "out").iterdir()] == []

    def test_a_bundle_that_is_none(self, tmp_path: Path) -> None:
        done = command("edge-doctor", tmp_path)
        assert done.returncode == 1, done.stderr
        assert "FAIL bundle" in done.stdout
        assert "A bin can't run here before this is mended:" in done.stdout.replace("\n", " ")
        assert max(map(len, done.stdout.splitlines())) <= 80 + len(str(tmp_path))

    def test_bad_input(self, tmp_path: Path) -> None:
        (tmp_path / "bin.toml").write_text("bundel = 3\n")
        one_line_error(
            command("edge-doctor", "--config", tmp_path / "bin.toml"), "edge-doctor", "unknown key bundel"
        )
        one_line_error(command("edge-doctor", "--config", tmp_path / "none"), "edge-doctor", "can't be read")

    def test_other_systems_are_refused_in_words(self) -> None:
        done = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, "")
        assert "Windows is not supported" in done.stdout

    def test_a_library_that_does_not_load_is_a_finding(self) -> None:
        code = "import sys; sys.modules['cv2'] = None; from edge.cli.doctor import main; main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, "")
        assert "FAIL libraries" in done.stdout
        assert "libgl1" in done.stdout


class TestText:
    FOUND = (Area("GPU", (ok("cuda", "Orin"), fail("tensorrt", "too old " * 12, "take another " * 9))),)

    def test_fits_80_columns(self) -> None:
        text = [*lines(self.FOUND, 80)]
        assert max(map(len, text)) <= 80
        assert text[:2] == ["GPU", "  ok   cuda            Orin"]
        assert text[2].startswith("  FAIL tensorrt        too old")
        assert "                       -> take another" in "\n".join(text)

    def test_ends_with_what_matters(self) -> None:
        good, bad, poor = ok("a", "x"), fail("b", "x", "y"), warn("c", "x", "y")
        assert verdict([good]) == "A bin can run here."
        assert verdict([good, poor, poor]) == "A bin can run here; look at: c."
        assert verdict([bad]) == "A bin can't run here before this is mended: b."
        assert verdict([bad, poor]) == "A bin can't run here before this is mended: b. Then look at: c."


class TestBundle:
    def test_one_that_was_altered(self, tmp_path: Path) -> None:
        make_bundle(tmp_path / "bundle")
        with (tmp_path / "bundle" / "model.fp32.onnx").open("ab") as file:
            file.write(b"x")
        found = needs.bundle(tmp_path / "bundle")
        assert (found.state, "model.fp32.onnx" in found.found) == (State.FAIL, True)

    @pytest.mark.parametrize(("judged", "state"), [(Verdict.FAIL, State.FAIL), (Verdict.INCONCLUSIVE, State.WARN)])
    def test_its_verdict_is_told(self, tmp_path: Path, judged: Verdict, state: State) -> None:
        made = make_bundle(tmp_path / "passed")
        artifacts = tuple(replace(one, verdict=judged) for one in made.manifest.artifacts)
        contents = {name: made.read(name) for name in made.contents}
        write(tmp_path / "bundle", replace(made.manifest, artifacts=artifacts), contents)
        found = needs.bundle(tmp_path / "bundle")
        assert (found.state, judged.value in found.found) == (state, True), found
        allowed = needs.bundle(tmp_path / "bundle", allow_failed=True)
        assert (allowed.state, "refuses" in allowed.found) == (State.WARN, False), allowed

    def test_no_engine_is_built(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        gpu = FakeCudart()
        api = FakeTensorRT(gpu)
        monkeypatch.setattr(cudart, "open_library", lambda name: gpu)
        monkeypatch.setitem(sys.modules, "tensorrt", api)
        made = make_bundle(tmp_path / "bundle", runtimes=("onnxruntime", "tensorrt"))
        options = Options(cache=tmp_path / "engines")
        found = needs.bundle(made.folder, "tensorrt", options=options)
        assert (found.state, api.built) == (State.OK, 0), found
        assert "CPUExecutionProvider" in found.found
        open_backend(made, "tensorrt", options=options).close()
        assert "TensorRT" in needs.bundle(made.folder, "tensorrt", options=options).found
        assert api.built == 1


class TestSource:
    @pytest.mark.parametrize("uri", ["nowhere.mp4", "/dev/video97", "ftp://user:secret@host/x"])
    def test_one_that_is_not_there(self, uri: str) -> None:
        found = needs.source(IntakeSettings(uri))
        assert found.state is State.FAIL
        assert found.mend
        assert "secret" not in f"{found}"


class TestNetwork:
    def look(self, settings: MqttSettings) -> tuple[State, str]:
        (found,) = network.look(OutletSettings(mqtt=settings))
        return found.state, found.found

    def test_no_broker(self) -> None:
        state, found = self.look(MqttSettings("127.0.0.1", free_port()))
        assert (state, "can't be reached: Connection refused" in found) == (State.FAIL, True)

    def test_one_that_is_silent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(network, "CONNECT_S", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            state, found = self.look(MqttSettings("127.0.0.1", deaf.getsockname()[1]))
        assert (state, "silent" in found) == (State.FAIL, True)

    def test_credentials(self, tmp_path: Path) -> None:
        tool = Path(mosquitto()).parents[1] / "bin" / "mosquitto_passwd"
        secrets = tmp_path / "passwords"
        if not tool.exists():
            tool = Path("/usr/bin/mosquitto_passwd")
        subprocess.run([tool, "-b", "-c", secrets, "bin7", "word"], check=True, capture_output=True)
        with Broker(tmp_path / "broker", f"password_file {secrets}", "allow_anonymous false") as broker:
            here = MqttSettings("127.0.0.1", broker.port)
            assert self.look(replace(here, user="bin7", password="word")) == (
                State.OK,
                f"mqtt://127.0.0.1:{broker.port} takes this bin, by user and password, not encrypted",
            )
            for refused in (replace(here, user="bin7", password="wrong"), here):
                state, found = self.look(refused)
                assert (state, "refuses this bin" in found) == (State.FAIL, True)

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves its socket behind
    def test_tls(self, tmp_path: Path) -> None:
        made = Certificates(tmp_path / "certificates")
        certificate, key = made.make("127.0.0.1")
        with Broker(tmp_path / "broker", f"certfile {certificate}", f"keyfile {key}") as broker:
            trusting = MqttSettings("127.0.0.1", broker.port, TlsFiles(made.authority))
            state, found = self.look(trusting)
            assert (state, found.endswith("takes this bin, TLS, without credentials")) == (State.OK, True)
            state, found = self.look(replace(trusting, tls=TlsFiles()))
            assert (state, "its certificate does not hold" in found) == (State.FAIL, True)
            state, found = self.look(replace(trusting, tls=TlsFiles(tmp_path / "none.pem")))
            assert (state, "can't be read" in found) == (State.FAIL, True)

    def test_a_webhook_is_reached_and_nothing_posted(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            (found,) = network.look(OutletSettings(webhook=WebhookSettings(f"http://127.0.0.1:{port}/token")))
            assert (found.state, "not encrypted; nothing was posted" in found.found) == (State.OK, True)
            peer, _ = server.accept()
            with peer:
                assert peer.recv(100) == b""
        (found,) = network.look(OutletSettings(webhook=WebhookSettings(f"http://127.0.0.1:{port}/")))
        assert (found.state, "can't be reached" in found.found) == (State.FAIL, True)


class TestFlapAndPage:
    @pytest.mark.parametrize(
        ("target", "state", "words"),
        [
            ("true --token hush", State.OK, "true is there"),
            ("no-such-servo", State.FAIL, "no program"),
            ("gpio://gpiochip99/3", State.FAIL, "/dev/gpiochip99 is not there"),
            ("gpio://gpiochip0/3?ms=0", State.FAIL, "--flap is gpio"),
        ],
    )
    def test_a_flap(self, target: str, state: State, words: str) -> None:
        found = needs.flap(target)
        assert (found.state, words in found.found) == (state, True), found
        assert "hush" not in found.found

    def test_a_page(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert needs.page(WebSettings(port)).state is State.WARN
        assert needs.page(WebSettings(port)) == ok("page", f"port {port} of 127.0.0.1 is free")
