"""An RTSP camera, by GStreamer's server; run by Debian's Python, which has its bindings.

    /usr/bin/python3 rtsp_server.py 8554 [USER PASSWORD [CERTIFICATE]]

Serves /h264 and /mjpeg: 25 frames/s of 640x480, a key frame a second; by rtsps where a PEM file with
certificate and key is given. A line on standard output says that it listens.
"""

from __future__ import annotations

import sys

import gi  # type: ignore[import-not-found]  # Debian's Python has it, ours has not

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import (  # type: ignore[import-not-found]  # noqa: E402  # after its versions; as above
    Gio,
    GLib,
    Gst,
    GstRtsp,
    GstRtspServer,
)

_PICTURES = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=480,framerate=25/1"
_STREAMS = {
    "/h264": f"{_PICTURES} ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=800 key-int-max=25 "
    "! rtph264pay name=pay0 pt=96 config-interval=1",
    "/mjpeg": f"{_PICTURES},format=I420 ! jpegenc ! rtpjpegpay name=pay0 pt=26",
}


def _locked(server: GstRtspServer.RTSPServer, user: str, password: str, certificate: str = "") -> None:
    auth = GstRtspServer.RTSPAuth()
    if certificate:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(certificate))
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "owner")
    auth.add_digest(user, password, token)
    server.set_auth(auth)


def main() -> None:
    """Serve until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    for path, pipeline in _STREAMS.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {pipeline} )")
        # A pipeline for each client: the server has died of two that came to one at the same moment.
        factory.set_shared(False)
        if len(sys.argv) > 2:  # user and password
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_role("owner")
            permissions.add_permission_for_role("owner", "media.factory.access", True)
            permissions.add_permission_for_role("owner", "media.factory.construct", True)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)
    if len(sys.argv) > 2:
        _locked(server, *sys.argv[2:])
    if not server.attach(None):
        sys.exit(f"cannot listen on {sys.argv[1]}")
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
