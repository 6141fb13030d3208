"""Fetching against a server of our own on the loopback: every way in which a mirror can fail."""

import gzip
import hashlib
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import numpy as np
import pytest
import requests
from filelock import FileLock

from harness.errors import DataError, UsageError
from harness.tasks import fetch as fetching
from harness.tasks.fetch import fetch, verify
from harness.tasks.mnist import PUBLISHED, File, Published, content_sum, header, read_idx

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (300, 28, 28), np.uint8)  # larger than the chunks of a download
LABELS = RANDOM.integers(0, 10, 300, np.uint8)
FIRST, SECOND = 25 * fetching.CHUNK, 12 * fetching.CHUNK  # where connections are cut


def published(name, array):
    archive = gzip.compress(header(array.shape) + array.tobytes(), mtime=0)
    facts = (content_sum(array), len(archive), hashlib.sha256(archive).hexdigest())
    return File(name, array.shape, *facts), archive


IMAGE_FILE, ARCHIVE = published("images", IMAGES)
LABEL_FILE, LABEL_ARCHIVE = published("labels", LABELS)


@dataclass
class Served:
    """What one path answers: `cuts` are the bytes after which each answer in turn breaks off."""

    body: bytes
    status: int = 200
    ranges: bool = True
    length: bool = True
    shift: int = 0  # how far the range that it sends lies from the one asked for
    cuts: list[int] = field(default_factory=list)


class Seen(NamedTuple):
    path: str
    range: str | None
    sent: int


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        served = self.server.files.get(self.path, Served(b"no", status=404))
        asked = self.headers.get("Range")
        status, body = served.status, served.body
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and served.ranges else 0
        start += served.shift if start else 0
        if start >= len(body):
            status, body = 416, b""
        elif start:
            status, body = 206, body[start:]
        self.send_response(status)
        if served.length:
            self.send_header("Content-Length", str(len(body)))
        if status == 206:
            total = len(served.body)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        body = body[: served.cuts.pop(0)] if served.cuts else body
        # Before anything is sent: who is refused does not wait for the body.
        self.server.seen.append(Seen(self.path, asked, len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.seen = {}, []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def sources(server, *mirrors, files=(IMAGE_FILE,)):
    base = f"http://127.0.0.1:{server.server_port}"
    return {"small": Published(tuple(f"{base}/{mirror}/" for mirror in mirrors), files)}


def names(folder):
    """What a fetch left behind, its lock aside."""
    return sorted(path.name for path in folder.glob("small/[!.]*"))


def test_good_files_are_fetched_once(server, tmp_path, capfd):
    server.files = {
        "/a/images.gz": Served(ARCHIVE),
        "/a/labels.gz": Served(LABEL_ARCHIVE),
    }
    small = sources(server, "a", "b", files=(IMAGE_FILE, LABEL_FILE))
    assert [state.state for state in verify("small", tmp_path, small)] == ["absent", "absent"]
    got = fetch("small", tmp_path, small, progress=False)
    assert got == [tmp_path / "small/images.gz", tmp_path / "small/labels.gz"]
    assert names(tmp_path) == ["images.gz", "labels.gz"]
    assert np.array_equal(read_idx(got[0]), IMAGES)
    assert [state.state for state in verify("small", tmp_path, small)] == ["ok", "ok"]
    assert fetch("small", tmp_path, small, progress=False) == []
    assert len(server.seen) == 2
    assert capfd.readouterr() == ("", "")


def test_progress_goes_to_standard_error(server, tmp_path, capfd):
    server.files = {"/a/images.gz": Served(ARCHIVE)}
    fetch("small", tmp_path, sources(server, "a"))
    out, err = capfd.readouterr()
    assert out == ""
    assert "100%" in err


def test_wrong_checksum_then_a_good_mirror(server, tmp_path):
    wrong = ARCHIVE[:-9] + bytes(9)
    server.files = {"/a/images.gz": Served(wrong), "/b/images.gz": Served(ARCHIVE)}
    fetch("small", tmp_path, sources(server, "a", "b"), progress=False)
    assert names(tmp_path) == ["images.gz"]
    assert (tmp_path / "small/images.gz").read_bytes() == ARCHIVE
    assert [(seen.path, seen.range) for seen in server.seen] == [
        ("/a/images.gz", None),
        ("/b/images.gz", None),
    ]


def test_wrong_checksum_everywhere_leaves_nothing(server, tmp_path):
    server.files = {"/a/images.gz": Served(bytes(len(ARCHIVE)))}
    with pytest.raises(DataError, match=r"wrong checksum$"):
        fetch("small", tmp_path, sources(server, "a"), progress=False)
    assert names(tmp_path) == []
    assert len(server.seen) == 1


def test_another_file_is_refused_before_it_is_read(server, tmp_path):
    server.files = {
        "/a/images.gz": Served(b"<html>please log in</html>"),
        "/b/images.gz": Served(b"x" * (len(ARCHIVE) + 1), length=False),
    }
    with pytest.raises(DataError) as caught:
        fetch("small", tmp_path, sources(server, "a", "b"), progress=False)
    size = f"{len(ARCHIVE):,}"
    assert f"serves a file of 26 bytes, not {size}" in str(caught.value)
    assert f"serves a file of more than {size} bytes" in str(caught.value)
    assert not (tmp_path / "small/images.gz").exists()


def test_a_cut_connection_is_resumed_with_the_rest_only(server, tmp_path):
    server.files = {"/a/images.gz": Served(ARCHIVE, cuts=[FIRST, SECOND])}
    fetch("small", tmp_path, sources(server, "a"), progress=False)
    assert (tmp_path / "small/images.gz").read_bytes() == ARCHIVE
    first, second, third = server.seen
    assert first == ("/a/images.gz", None, FIRST)
    assert second.range == f"bytes={FIRST}-"
    assert third == ("/a/images.gz", f"bytes={FIRST + SECOND}-", len(ARCHIVE) - (FIRST + SECOND))


def test_a_cut_that_no_length_announced_is_noticed(server, tmp_path):
    server.files = {"/a/images.gz": Served(ARCHIVE, length=False, cuts=[1000])}
    fetch("small", tmp_path, sources(server, "a"), progress=False)
    assert [seen.range for seen in server.seen] == [None, "bytes=1000-"]


def test_a_later_call_resumes_from_another_mirror(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "TRIES", 1)
    server.files = {"/a/images.gz": Served(ARCHIVE, cuts=[FIRST])}
    with pytest.raises(DataError, match="connection cut"):
        fetch("small", tmp_path, sources(server, "a"), progress=False)
    assert names(tmp_path) == ["images.gz.part"]
    assert verify("small", tmp_path, sources(server, "a"))[0].state == "absent"
    server.files = {"/b/images.gz": Served(ARCHIVE)}
    fetch("small", tmp_path, sources(server, "b"), progress=False)
    assert names(tmp_path) == ["images.gz"]
    assert server.seen[-1] == ("/b/images.gz", f"bytes={FIRST}-", len(ARCHIVE) - FIRST)


def test_a_server_without_ranges_sends_it_all_again(server, tmp_path):
    server.files = {"/a/images.gz": Served(ARCHIVE, ranges=False, cuts=[FIRST])}
    fetch("small", tmp_path, sources(server, "a"), progress=False)
    assert (tmp_path / "small/images.gz").read_bytes() == ARCHIVE
    assert [seen.sent for seen in server.seen] == [FIRST, len(ARCHIVE)]


@pytest.mark.parametrize("extra", [-1000, 0, 1])
def test_a_foreign_part_does_no_harm(server, tmp_path, extra):
    """Bytes of another file, shorter, as long, or longer: one more try from the beginning."""
    (tmp_path / "small").mkdir()
    (tmp_path / "small/images.gz.part").write_bytes(b"x" * (len(ARCHIVE) + extra))
    server.files = {"/a/images.gz": Served(ARCHIVE)}
    fetch("small", tmp_path, sources(server, "a"), progress=False)
    assert (tmp_path / "small/images.gz").read_bytes() == ARCHIVE
    assert server.seen[-1].range is None


def test_a_part_that_is_a_link_is_not_written_through(server, tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "theirs").write_bytes(ARCHIVE[:100])
    (tmp_path / "small/images.gz.part").symlink_to(tmp_path / "theirs")
    server.files = {"/a/images.gz": Served(ARCHIVE)}
    fetch("small", tmp_path, sources(server, "a"), progress=False)
    assert (tmp_path / "theirs").read_bytes() == ARCHIVE[:100]
    assert not (tmp_path / "small/images.gz").is_symlink()


def test_a_part_that_the_server_does_not_know_is_dropped(server, tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "small/images.gz.part").write_bytes(b"x" * 1000)
    server.files = {"/a/images.gz": Served(b"short", length=False)}
    with pytest.raises(DataError):
        fetch("small", tmp_path, sources(server, "a"), progress=False)
    assert [seen.range for seen in server.seen[:2]] == ["bytes=1000-", None]


def test_another_range_than_asked_for_is_refused(server, tmp_path):
    """And the part stays as it was, for the next mirror."""
    (tmp_path / "small").mkdir()
    (tmp_path / "small/images.gz.part").write_bytes(ARCHIVE[:FIRST])
    server.files = {"/a/images.gz": Served(ARCHIVE, shift=10)}
    with pytest.raises(DataError, match="another part than the one asked for"):
        fetch("small", tmp_path, sources(server, "a"), progress=False)
    server.files = {"/b/images.gz": Served(ARCHIVE)}
    fetch("small", tmp_path, sources(server, "b"), progress=False)
    assert [seen.range for seen in server.seen] == [f"bytes={FIRST}-"] * 2


def test_not_found_everywhere_names_every_mirror(server, tmp_path):
    with pytest.raises(DataError) as caught:
        fetch("small", tmp_path, sources(server, "a", "b"), progress=False)
    message = str(caught.value)
    assert message.count("404 Client Error: Not Found") == 2
    assert message.count(f"127.0.0.1:{server.server_port}") == 2
    assert "\n" not in message
    assert names(tmp_path) == []
    assert len(server.seen) == 2


def test_no_server_at_all(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    nobody = {"small": Published((f"http://127.0.0.1:{port}/",), (IMAGE_FILE,))}
    with pytest.raises(DataError, match=r"connection failed$"):
        fetch("small", tmp_path, nobody, progress=False)


def test_a_silent_server_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT", 0.5)
    monkeypatch.setattr(Handler, "do_GET", lambda handler: handler.rfile.read())
    with pytest.raises(DataError, match="fell silent"):
        fetch("small", tmp_path, sources(server, "a"), progress=False)


def test_an_interrupted_fetch_leaves_no_final_file(server, tmp_path, monkeypatch):
    server.files = {"/a/images.gz": Served(ARCHIVE)}
    pieces = requests.Response.iter_content

    def one_piece(response, size):
        yield next(pieces(response, size))
        raise KeyboardInterrupt

    monkeypatch.setattr(requests.Response, "iter_content", one_piece)
    with pytest.raises(KeyboardInterrupt):
        fetch("small", tmp_path, sources(server, "a"), progress=False)
    assert names(tmp_path) == ["images.gz.part"]
    part = (tmp_path / "small/images.gz.part").read_bytes()
    assert 0 < len(part) < len(ARCHIVE)
    monkeypatch.undo()
    fetch("small", tmp_path, sources(server, "a"), progress=False)
    assert server.seen[-1].range == f"bytes={len(part)}-"
    assert names(tmp_path) == ["images.gz"]


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (ARCHIVE[:-100], "truncated"),
        (ARCHIVE[:-9] + bytes(9), "corrupt"),
        (LABEL_ARCHIVE, "corrupt"),
        (gzip.compress(header(IMAGES.shape) + bytes(IMAGES.size)), "corrupt"),
        (gzip.compress(header(IMAGES.shape) + IMAGES.tobytes(), 1), "ok"),
        (header(IMAGES.shape) + IMAGES.tobytes(), "ok"),
    ],
)
def test_verify_then_mend(server, tmp_path, content, state):
    server.files = {"/a/images.gz": Served(ARCHIVE)}
    path = tmp_path / "small/images.gz"
    path.parent.mkdir()
    path.write_bytes(content)
    found = verify("small", tmp_path, sources(server, "a"))[0]
    assert (found.path, found.state) == (path, state)
    assert (found.detail == "") == (state == "ok")
    assert "\n" not in found.detail
    got = fetch("small", tmp_path, sources(server, "a"), progress=False)
    assert got == ([] if state == "ok" else [path])
    assert verify("small", tmp_path, sources(server, "a"))[0].state == "ok"


def test_a_plain_file_is_as_good(server, tmp_path):
    path = tmp_path / "small/images"
    path.parent.mkdir()
    path.write_bytes(header(IMAGES.shape) + IMAGES.tobytes())
    assert verify("small", tmp_path, sources(server, "a"))[0] == (path, "ok", "")
    assert fetch("small", tmp_path, sources(server, "a"), progress=False) == []


def test_two_fetches_at_once_are_refused(server, tmp_path):
    (tmp_path / "small").mkdir()
    with (
        FileLock(tmp_path / "small/.fetch.lock"),
        pytest.raises(DataError, match="another process is fetching small"),
    ):
        fetch("small", tmp_path, sources(server, "a"), progress=False)


def test_a_directory_that_cannot_be_written(server, tmp_path):
    (tmp_path / "small").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"small: File exists$"):
        fetch("small", tmp_path, sources(server, "a"), progress=False)


@pytest.mark.parametrize("ask", [fetch, verify])
def test_an_unknown_name_is_refused(ask, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'mnist'"):
        ask("minst", tmp_path)


def test_sources_are_complete():
    """Both published sets, four files each, and more than one mirror for either."""
    assert set(PUBLISHED) == {"mnist", "fashion-mnist"}
    for source in PUBLISHED.values():
        assert len(source.mirrors) >= 2
        assert all(mirror.endswith("/") for mirror in source.mirrors)
        assert len({file.sha256 for file in source.files}) == 4
        assert all(len(file.sha256 + file.archive_sha256) == 128 for file in source.files)
