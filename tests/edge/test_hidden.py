"""What may be seen of addresses, commands and sentences."""

from __future__ import annotations

import time

import pytest

from edge.address import parse
from edge.errors import SinkError
from edge.hidden import discreet, hidden


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:s3cret@10.0.0.5:554/Streaming/Channels/101", "rtsp://***@10.0.0.5:554/Streaming/Channels/101"),
        ("rtsp://token@cam/h264Preview_01_main", "rtsp://***@cam/h264Preview_01_main"),
        # Passwords that nobody has percent-encoded.
        ("rtsp://admin:p@ss@cam/1", "rtsp://***@cam/1"),
        ("rtsp://admin:p/ss@cam/1", "rtsp://***@cam/1"),
        ("rtsp://admin:12/34@cam/1", "rtsp://***@cam/1"),
        ("rtsp://admin:p?s#s@cam/1", "rtsp://***@cam/1"),
        ("rtsp://admin:p s@cam/1", "rtsp://***@cam/1"),
        # Schemes that were forgotten or mistyped.
        ("admin:s3cret@cam/1", "***@cam/1"),
        ("mqtt:/bin:s3cret@host", "***@host"),
        ("bin:s3cret@mqtt://host", "***@mqtt://host"),
        # Secrets elsewhere.
        ("https://host/hook?token=abc&bin=7", "https://host/hook?token=***&bin=7"),
        ("https://host/hook?apiKey=abc#access_token=x", "https://host/hook?apiKey=***#access_token=***"),
        ("rtsp://cam/user=admin_password=tlJwpbo6_channel=1.sdp?real_stream", "rtsp://cam/user=***"),
        ("rtsp://cam/channel=1_password=x", "rtsp://cam/channel=1_password=***"),
        ("https://hooks.example/services/T0AB/kq3vW9xZ0bT4mN7c", "https://hooks.example/services/T0AB/***"),
        ("https://x/4a6b6f0e-1c22-4c0e-9a5c-5d1f00c3a9b2?v=3", "https://x/***?v=3"),
        ("https://x/?sv=QmFzZVNpeHR5Rm91ckxldHRlcnM", "https://x/?sv=***"),
        ("curl -H 'Authorization: Bearer abc' https://u:p@h/ --token t", "curl -H 'Authorization: Bearer ***' https://***@h/ --token ***"),  # noqa: E501
    ],
)  # fmt: skip
def test_secrets_are_hidden(text: str, shown: str) -> None:
    assert hidden(text) == shown
    assert hidden(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "csi://0",
        "demo://?seed=3&deposits=100000",
        "gpio://gpiochip0/17?decision=rejected&ms=300",
        "mqtts://broker.example:8883",
        "https://[fe80::1]:8443/api/v1/bins/kitchen-3-by-the-window",
        "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0",
        "/data/photos@2x/may 2026",
        "rtsp://cam/cam/realmonitor?channel=1&subtype=0",
        "servo --to {label}",
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert hidden(text) == text


def test_sentences() -> None:
    said = "can't open 'rtsp://a:b@cam/1': refused (see https://u:p@h/x?token=z), nor a:b@cam, a:b@mqtt://h"
    shown = "can't open 'rtsp://***@cam/1': refused (see https://***@h/x?token=*** nor ***@cam, ***@mqtt://h"
    assert discreet(said) == shown
    plain = "--mqtt is broker:1883; expected mqtt://HOST[:1883] or mqtts://HOST[:8883], see --mqtt-password-file"
    assert discreet(plain) == plain


def test_a_long_line_takes_no_time() -> None:
    start = time.process_time()
    for piece in ("a:", "pass", "--", "x", "://", "@:", "A1"):
        discreet(piece * 50_000)
        hidden(f"https://{piece * 50_000}")
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "url",
    [
        "bin:s3cret@host",
        "mqtt:/bin:s3cret@host",
        "ftp://bin:s3cret@host/",
        "mqtt://bin:s3cret@host:port",
        "mqtt://bin:s3cret@[::1",
        "mqtt://bin:s3c/s3cret@host",
    ],
)
def test_errors_of_addresses_and_what_they_show(url: str) -> None:
    with pytest.raises(SinkError, match=r"^--mqtt is .*; expected mqtt://HOST") as caught:
        parse(url, {"mqtt": 1883}, "--mqtt")
    assert "s3cret" not in str(caught.value)
    shown = parse("mqtt://bin:1/s3cret@host/a?token=s3cret", {"mqtt": 1883}, "--mqtt").shown
    assert shown == "mqtt://host/a"
