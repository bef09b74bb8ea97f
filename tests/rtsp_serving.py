"""The process of tests.rtsp_server: an RTSP server of GStreamer, for Debian's Python and its PyGObject.

/video gives the time of CLOCK_MONOTONIC as tests.clock_code draws it, /sound has no picture. Prints a line when it
serves. `still` and `go` on stdin stop the stream's timestamps, not its pictures, and let them go on; `count`
asks how many pictures were sent.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time

import gi

from tests.clock_code import draw

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtspServer  # noqa: E402

WIDTH, HEIGHT, FPS, KEY_EVERY = 320, 240, 15, 15

VIDEO = (
    f"( appsrc name=pictures is-live=true do-timestamp=true format=time "
    f"caps=video/x-raw,format=GRAY8,width={WIDTH},height={HEIGHT},framerate={FPS}/1 "
    f"! videoconvert ! video/x-raw,format=I420 "
    f"! x264enc name=encoder tune=zerolatency speed-preset=ultrafast threads=1 key-int-max={KEY_EVERY} "
    f"! video/x-h264,profile=baseline ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)

SOUND = "( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 )"


class Pictures:
    """What /video gives. One at a time draws: the media is shared."""

    def __init__(self) -> None:
        self.still = False
        self.sent = 0
        self._stamp = 0
        self._source: Gst.Element | None = None

    def configure(self, _: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
        self._source = media.get_element().get_child_by_name("pictures")
        encoder = media.get_element().get_child_by_name("encoder")
        encoder.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, self._stamps)
        self._stamp = 0
        media.connect("unprepared", self._gone)

    def _gone(self, _: GstRtspServer.RTSPMedia) -> None:
        self._source = None

    def _stamps(self, _: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        buffer = info.get_buffer()
        if self.still and self._stamp:
            buffer.pts = buffer.dts = self._stamp
        self._stamp = buffer.pts
        self.sent += 1
        return Gst.PadProbeReturn.OK

    def push(self) -> bool:
        if self._source is not None:
            picture = draw(time.monotonic_ns() // 1_000_000, WIDTH, HEIGHT)
            self._source.emit("push-buffer", Gst.Buffer.new_wrapped(picture))
        return True


def mount(
    server: GstRtspServer.RTSPServer, path: str, launch: str, guarded: bool
) -> GstRtspServer.RTSPMediaFactory:
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch)
    factory.set_shared("appsrc" in launch)
    if guarded:
        allowed = GstRtspServer.RTSPPermissions()
        for what in ("access", "construct"):
            allowed.add_permission_for_role("viewer", f"media.factory.{what}", True)
        factory.set_permissions(allowed)
    server.get_mount_points().add_factory(path, factory)
    return factory


def guard(server: GstRtspServer.RTSPServer, user: str, password: str, scheme: str, certificate: str) -> None:
    auth = GstRtspServer.RTSPAuth()
    if certificate:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(certificate))
    if user:
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        if scheme == "digest":
            auth.set_supported_methods(2)  # GST_RTSP_AUTH_DIGEST
            auth.add_digest(user, password, token)
        else:
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    else:
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.set_default_token(token)
    server.set_auth(auth)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port")
    for option in ("--user", "--password", "--scheme", "--certificate"):
        parser.add_argument(option, default="")
    given = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(given.port)
    guarded = bool(given.user or given.certificate)
    if guarded:
        guard(server, given.user, given.password, given.scheme, given.certificate)
    pictures = Pictures()
    mount(server, "/video", VIDEO, guarded).connect("media-configure", pictures.configure)
    mount(server, "/sound", SOUND, guarded)
    loop = GLib.MainLoop()
    if not server.attach(None):
        sys.exit(f"port {given.port} is taken")
    GLib.timeout_add(1000 // FPS, pictures.push)

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "count":
                print(pictures.sent, flush=True)
            else:
                pictures.still = line.strip() == "still"
        loop.quit()  # whoever started this has gone

    threading.Thread(target=listen, daemon=True).start()
    print("serves", flush=True)
    loop.run()


if __name__ == "__main__":
    main()
