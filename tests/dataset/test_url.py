"""Archives and stacks that lie elsewhere: HTTP and S3 servers on the loopback."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import zarr
from click.testing import CliRunner

from fgaf.base.errors import FormatError
from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.commands.main import main
from fgaf.dataset.exporters.ome_zarr import write_ome_zarr
from fgaf.dataset.raw import RawStack
from fgaf.dataset.splits.subset_arrays import load_side
from fgaf.dataset.storage.url import Url, location


@dataclass
class Server:
    """A folder served over HTTP with byte ranges, which is also how S3 gives its objects."""

    folder: Path
    ranges: bool = True
    sent: int = 0
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def url(self, name: str) -> Url:
        return Url(f"http://127.0.0.1:{self.port}/{name}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    told = Server(tmp_path / "served")
    told.folder.mkdir()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = told.folder / unquote(urlsplit(self.path).path).lstrip("/")
            told.asked.append(f"{self.command} {path.name}")
            if not path.is_file():
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data, code = path.read_bytes(), 200
            self.whole = len(data)
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if wanted and told.ranges:
                start, end = int(wanted[1]), int(wanted[2] or len(data) - 1)
                data, code = data[start : end + 1], 206
            self.send_response(code)
            if code == 206:
                self.send_header("Content-Range", f"bytes {start}-{end}/{self.whole}")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            if told.ranges:
                self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            if body:
                told.sent += len(data)
                with suppress(ConnectionError):
                    self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        told.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield told
        http.shutdown()
        thread.join()


def large(archive: Archive) -> Archive:
    """Return the archive with patches large enough that fetching them all would show."""
    side = 256
    pixels = np.random.default_rng(1).integers(0, 4000, (60, side, side), dtype=np.uint16)
    header = archive.header.model_copy(update={"patch_px": side})
    return Archive(**{**archive.__dict__, "header": header, "images": pixels})


def test_an_archive_is_read_over_http_in_pieces(server: Server, archive: Archive) -> None:
    made = large(archive)
    path = write_archive(server.folder / "a.h5", made)
    with Archive.open(server.url("a.h5")) as opened:
        assert (opened.path, opened.n_cells) == (None, 12)
        np.testing.assert_array_equal(opened.images[17], made.images[17])
        assert opened.cells.sample_id.tolist() == made.cells.sample_id.tolist()
    assert server.sent < path.stat().st_size / 2
    assert Archive.read(server.url("a.h5")).fingerprint == Archive.read(path).fingerprint


def test_one_side_comes_as_plain_arrays(server: Server, archive: Archive) -> None:
    path = write_archive(server.folder / "a.h5", archive)
    for side in ("train", "test"):
        here, there = load_side(str(path), side), load_side(str(server.url("a.h5")), side)
        np.testing.assert_array_equal(there.images, here.images)
        np.testing.assert_array_equal(there.depth_class, here.depth_class)


def test_a_stack_is_read_over_http(server: Server, good_stack: Path) -> None:
    (server.folder / "good.stack.h5").write_bytes(good_stack.read_bytes())
    text = str(good_stack)
    with RawStack.open(server.url("good.stack.h5")) as there, RawStack.open(text) as here:
        there.verify()
        np.testing.assert_array_equal(there.frames[2], here.frames[2])
        assert there.header == here.header


def test_an_archive_is_read_from_s3(
    server: Server, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server.folder / "bucket").mkdir()
    path = write_archive(server.folder / "bucket" / "a.h5", archive)
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert Archive.read(Url("s3://bucket/a.h5")).fingerprint == Archive.read(path).fingerprint
    assert any(line == "GET a.h5" for line in server.asked)
    with pytest.raises(FormatError, match="does not exist"), Archive.open(Url("s3://bucket/b.h5")):
        pass


def test_info_takes_an_address(server: Server, archive: Archive) -> None:
    write_archive(server.folder / "a.h5", archive)
    result = CliRunner().invoke(main, ["info", str(server.url("a.h5"))])
    assert result.exit_code == 0
    assert "donor" not in result.stdout
    assert "12" in result.stdout
    wrong = CliRunner().invoke(main, ["info", str(server.url("b.h5"))])
    assert wrong.exit_code == 1
    assert "b.h5 does not exist" in wrong.stderr


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:9/a.h5", "its server does not answer"),
        ("odd://host/a.h5", "cannot be read"),
        ("http://127.0.0.1:{port}/text", "is not an HDF5 file"),
        ("http://127.0.0.1:{port}/half.h5", "is not an HDF5 file, or is truncated"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    url: str, says: str, server: Server, archive: Archive
) -> None:
    (server.folder / "text").write_text("no archive at all")
    whole = write_archive(server.folder / "whole.h5", archive).read_bytes()
    (server.folder / "half.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError) as caught, Archive.open(Url(url.format(port=server.port))):
        pass
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_without_ranges_is_said_to_be_one(server: Server, archive: Archive) -> None:
    write_archive(server.folder / "a.h5", large(archive))
    server.ranges = False
    with (
        pytest.raises(FormatError, match="does not support byte ranges"),
        Archive.open(server.url("a.h5")),
    ):
        pass


def test_the_zarr_export_is_read_over_http_by_zarr(server: Server, good_stack: Path) -> None:
    with RawStack.open(good_stack) as stack:
        write_ome_zarr(stack, server.folder / "good.ome.zarr")
        there = zarr.open_array(f"{server.url('good.ome.zarr')}/0", mode="r")
        np.testing.assert_array_equal(there[1], stack.frames[1])
    assert sum("GET" in line for line in server.asked) < 6


def test_a_path_stays_a_path() -> None:
    assert location("a/b.h5") == Path("a/b.h5")
    assert location("s3://a/b.h5") == Url("s3://a/b.h5")
    assert location(Path("a/b.h5")) == Path("a/b.h5")
    assert Url("s3://a/b.h5").name == "b.h5"
