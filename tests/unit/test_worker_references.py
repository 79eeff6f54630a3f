"""What a reference may name: nothing outside the allowed prefixes, however it is written."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from riverlens.errors import SettingsError
from riverlens.settings import load
from riverlens_worker.reference_uri import AllowList, Location, RefusedError, is_reference, parse, read_list
from riverlens_worker.settings import WorkerSettings
from tests.worker_parts import encode, examples, scene

PREFIXES = (
    "file:///mnt/cams",
    "file:///srv/one.jpg",
    "https://images.example/live",
    "https://images.example:8443",
    "https://[2001:DB8:0::1]/a/",
    "HTTPS://10.0.0.7/%7Ecams",
)
ALLOWED = AllowList(PREFIXES)

FETCHED = {
    "file:///mnt/cams/a.jpg": "/mnt/cams/a.jpg",
    "file:/mnt/cams/a.jpg": "/mnt/cams/a.jpg",
    "FILE://LocalHost/mnt/cams/yard/a.jpg": "/mnt/cams/yard/a.jpg",
    "file:///mnt/%63ams/b%20c%25.jpg": "/mnt/cams/b c%.jpg",
    "file:///mnt/cams/...": "/mnt/cams/...",
    "file:///mnt/cams/%C3%A4.jpg": "/mnt/cams/ä.jpg",
    "file:///srv/one.jpg": "/srv/one.jpg",
    "https://images.example/live/1.jpg": "https://images.example:443/live/1.jpg",
    "https://IMAGES.Example:443/live/1.jpg?sig=a%2Fb%3D": "https://images.example:443/live/1.jpg?sig=a%2Fb%3D",
    "https://images.example/live": "https://images.example:443/live",
    "https://images.example/live//x": "https://images.example:443/live//x",
    "https://images.example:8443": "https://images.example:8443/",
    "https://images.example:8443/any/where": "https://images.example:8443/any/where",
    "https://[2001:db8::0001]/a/b": "https://[2001:db8::1]:443/a/b",
    "https://10.0.0.7/~cams/1": "https://10.0.0.7:443/~cams/1",
}
REFUSED = [
    "",
    "/mnt/cams/a.jpg",
    "mnt/cams/a.jpg",
    "//images.example/live/1.jpg",
    "file:mnt/cams/a.jpg",
    "file://mnt/cams/a.jpg",
    "file://other.host/mnt/cams/a.jpg",
    "file://localhost:80/mnt/cams/a.jpg",
    "file:////mnt/cams/a.jpg",
    "file:///mnt//cams/a.jpg",
    "file:///mnt/cams//a.jpg",
    "file:///mnt/cams2/a.jpg",
    "file:///mnt/camsa.jpg",
    "file:///mnt",
    "file:///etc/passwd",
    "file:///srv/one.jpg.bak",
    "file:///mnt/cams/../../etc/passwd",
    "file:///mnt/cams/%2e%2e/x",
    "file:///mnt/cams/.%2E/x",
    "file:///mnt/cams/%252e%252e/x",
    "file:///mnt/cams/%25252e./x",
    "file:///mnt/cams/./a.jpg",
    "file:///mnt/cams/..%2f..%2fetc",
    "file:///mnt/cams/a%2fb",
    "file:///mnt/cams/a%5cb",
    "file:///mnt/cams\\..\\x",
    "file:///mnt/cams/a%00.jpg",
    "file:///mnt/cams/a%0a.jpg",
    "file:///mnt/cams/%c0%ae%c0%ae/x",
    "file:///mnt/cams/%ff",
    "file:///mnt/cams/%e2%80%a5/x",
    "file:///mnt/cams/%ef%bc%8e%ef%bc%8e/x",
    "file:///mnt/cams/a%ef%bc%8fb",
    "file:///mnt/cams/a.jpg?x",
    "file:///mnt/cams/a.jpg#x",
    "file:///mnt/cams/%zz",
    "file:///mnt/cams/%",
    "file:///mnt/cams/ä.jpg",
    "file:///mnt/cams/a b.jpg",
    "file:///mnt/cams/a\x00.jpg",
    "http://images.example/live/1.jpg",
    "ftp://images.example/live/1.jpg",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "https:images.example/live",
    "https:///images.example/live",
    "https:/images.example/live",
    "https://",
    "https://images.example.evil.net/live/1.jpg",
    "https://evilimages.example/live/1.jpg",
    "https://images.example./live/1.jpg",
    "https://images.example:444/live/1.jpg",
    "https://images.example:/live/1.jpg",
    "https://images.example:0/live/1.jpg",
    "https://images.example:65536/live/1.jpg",
    "https://images.example:0443443/live/1.jpg",
    "https://images.example@evil.net/live/1.jpg",
    "https://user@images.example/live/1.jpg",
    "https://user:word@images.example/live/1.jpg",
    "https://evil.net\\@images.example/live/1.jpg",
    "https://images.example\\.evil.net/live/1.jpg",
    "https://images.example%2eevil.net/live/1.jpg",
    "https://images.example/lively/1.jpg",
    "https://images.example/",
    "https://images.example/live/../admin",
    "https://images.example/live/%2e%2e/admin",
    "https://images.example/live/%252e%252e/admin",
    "https://images.example/live/..;x/admin",
    "https://images.example/live/..%3bx/admin",
    "https://images.example/live/a%2f..%2fb",
    "https://images.example/live/1.jpg#top",
    "https://images.example?/live/1.jpg",
    "https://[2001:db8::2]/a/b",
    "https://[::1]/a/b",
    "https://[2001:db8::1%25eth0]/a/b",
    "https://[2001:db8::1/a/b",
    "https://[nonsense]/a/b",
    "https://0xa.0.0.7/~cams/1",
    "https://167772167/~cams/1",
    "https://10.7/~cams/1",
    "https://127.0.0.1/~cams/1",
    "https://169.254.169.254/latest/meta-data",
]


def _target(location: Location) -> str:
    return location.file_path if location.scheme == "file" else location.url


@pytest.mark.parametrize(("text", "target"), FETCHED.items())
def test_what_lies_under_a_prefix_is_fetched(text: str, target: str) -> None:
    """The place that is asked is put together from the checked parts."""
    _, location = ALLOWED.decide(text.encode())
    assert _target(location) == target


@pytest.mark.parametrize("text", REFUSED)
def test_everything_else_is_refused(text: str) -> None:
    """No other host or path, and nothing that two programs could read in two ways."""
    with pytest.raises(RefusedError) as refused:
        ALLOWED.decide(text.encode())
    assert str(refused.value)


def test_with_no_prefix_the_detail_names_the_setting() -> None:
    """By default every reference is refused, and the dead letter says which setting would allow it."""
    with pytest.raises(RefusedError, match="reference_prefixes"):
        AllowList(()).decide(b"https://images.example/live/1.jpg")
    with pytest.raises(RefusedError, match=r"https://images.example:443/x\?\.\.\. lies under none of"):
        ALLOWED.decide(b"https://images.example/x?secret=1")


URI = "https://a.example/b"


@pytest.mark.parametrize(
    "value",
    [
        URI,
        f"{URI}\r\n",
        f"# one\r\n{URI}\r\n",
        f"\r\n#\n  {URI} \n#x",
    ],
)
def test_a_list_of_one_uri_is_read(value: str) -> None:
    """Comments, empty lines and any line ends, as RFC 2483 has them."""
    assert read_list(value.encode()) == URI


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "0 URIs"),
        (b"# nothing\r\n", "0 URIs"),
        (f"{URI}\n{URI}".encode(), "2 URIs"),
        (f"{URI}ä".encode(), "beyond ASCII"),
        (b"a" * 70_000, "70000 bytes"),
    ],
)
def test_other_lists_are_refused(value: bytes, why: str) -> None:
    """A frame is one image: one URI."""
    with pytest.raises(RefusedError, match=why):
        read_list(value)


@pytest.mark.parametrize(
    "prefix",
    [
        "cams",
        "/mnt/cams",
        "https://a.example/b?c",
        "https://a.example/#",
        "ftp://a.example",
        "https://*.example",
        "file:///a/../b",
    ],
)
def test_a_wrong_prefix_is_a_wrong_setting(prefix: str) -> None:
    """The worker does not start with a prefix that allows less, or more, than its writer thinks."""
    with pytest.raises(SettingsError, match="reference_prefixes"):
        load(WorkerSettings, [f"--reference-prefixes=file:///mnt,{prefix}"], prog="test")


def test_prefixes_come_as_text_with_commas() -> None:
    """A flag names several prefixes, as the settings file's list does."""
    settings = load(WorkerSettings, ["--reference-prefixes=file:///mnt, https://a.example"], prog="test")
    assert settings.reference_prefixes == ("file:///mnt", "https://a.example")
    assert WorkerSettings().reference_prefixes == ()


PARTS = st.sampled_from(
    [
        *(part for text in (*PREFIXES, *FETCHED) for part in (text, text.rpartition("/")[0])),
        *(
            "/",
            "//",
            "..",
            ".",
            "%2e",
            "%2E%2e",
            "%25",
            "2e",
            "%2f",
            "%5c",
            "\\",
            "@",
            ":",
            "443",
            "?",
            "#",
            ";",
            "%",
            "\t",
        ),
        *(
            "cams",
            "live",
            "a",
            "example",
            "evil.net",
            "localhost",
            "[",
            "]",
            "::1",
            "%00",
            "%c0%ae",
            "\u2025",
            "file:",
            "https:",
        ),
    ]
)


@examples(600)
@given(st.lists(st.one_of(PARTS, st.text(max_size=4)), max_size=8).map("".join))
def test_whatever_the_text_the_target_lies_under_a_prefix(text: str) -> None:
    """A text is refused, or names a place below a prefix that has one reading and stays when read again."""
    try:
        prefix, location = ALLOWED.decide(text.encode("utf-8", "surrogatepass"))
    except RefusedError:
        return
    assert prefix.covers(location)
    target = _target(location)
    if location.scheme == "file":
        assert target in {"/srv/one.jpg", "/mnt/cams"} or target.startswith("/mnt/cams/")
        assert not {".", ".."} & set(target.split("/"))
        assert "\0" not in target
        return
    assert ALLOWED.decide(target.encode()) == (prefix, location)
    # What the HTTP client makes of it, by its own parser.
    seen = URL(target, encoded=True)
    assert (seen.scheme, seen.port, seen.user) == (location.scheme, location.port, None)
    assert seen.raw_host == location.host.strip("[]")
    assert seen.raw_path == location.path
    assert location.port == 8443 or URL(target).path.startswith(("/live", "/a", "/~cams"))


@examples(200)
@given(st.text(max_size=300))
def test_any_text_is_a_place_or_refused(text: str) -> None:
    """The parser raises nothing else."""
    with contextlib.suppress(RefusedError):
        parse(text)


def test_only_the_content_type_makes_a_reference() -> None:
    """An image stays an image under that content type, and a URI without it is no reference."""
    assert is_reference(b"file:///a", "text/uri-list")
    assert is_reference(b"file:///a", " Text/URI-list; charset=us-ascii")
    assert not is_reference(b"file:///a", None)
    assert not is_reference(b"file:///a", "text/uri-list-not")
    assert not is_reference(encode(scene(), "JPEG"), "text/uri-list")
