"""Downloads that go wrong: whatever a server does, a wrong file is never used and nothing is left behind."""

import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pooch
import pytest
import requests

from emergent_alignment.datasets import DATA_VARIABLE, SOURCES, DataError, Source, raw_file, sources

CONTENT = b"person,item,rating\n" + b"1,2,3.5\n" * 20_000
MEMBER = "folder/ratings.csv"
PATH = "made_up/ratings.csv"


# A publisher of our own --------------------------------------------------------------------------------------


class Publisher(ThreadingHTTPServer):
    """A web server on this machine whose answer each test sets; it counts the requests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = lambda request: request.send_whole(CONTENT)
        self.requests = 0
        self.quiet = threading.Event()  # holds back a server that has fallen silent until the test is over

    def handle_error(self, request, client_address):
        """Clients that hang up are part of the tests."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/ratings"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests += 1
        self.server.answer(self)

    def send_whole(self, body, kind="application/octet-stream"):
        self.promise(len(body), kind)
        self.wfile.write(body)

    def promise(self, length, kind="application/octet-stream"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def publisher():
    server = Publisher()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.quiet.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch, publisher):
    """The user's cache folder, empty, with the publisher's file and archive registered as sources."""
    folder = tmp_path / "cache"
    digest = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(pooch, "os_cache", lambda _: folder)
    monkeypatch.setitem(SOURCES, "made_up", Source(PATH, publisher.url, digest))
    monkeypatch.setitem(SOURCES, "packed", Source(PATH, publisher.url, digest, MEMBER))
    return folder


def files(folder):
    """Everything in a folder, hidden files and empty folders included."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def refused(name, cache, *reasons):
    """The file is refused with a message that names it, the reason and the way out; the cache is as before."""
    before = files(cache) if cache.exists() else []
    with pytest.raises(DataError) as error:
        raw_file(name)
    message = str(error.value)
    for part in (SOURCES[name].url, SOURCES[name].sha256, PATH, DATA_VARIABLE, *reasons):
        assert part in message
    assert files(cache) == before


def zip_with(members, damage=False):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    data = bytearray(buffer.getvalue())
    if damage:
        data[len(data) // 2] ^= 0xFF  # inside the member, whose checksum no longer fits
    return bytes(data)


def tar_with(members, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            if content is None:
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


# Files -------------------------------------------------------------------------------------------------------


def test_a_complete_file_is_fetched_once(cache, publisher):
    path = raw_file("made_up")
    assert path == cache / PATH and path.read_bytes() == CONTENT
    assert raw_file("made_up") == path and publisher.requests == 1
    assert files(cache) == ["made_up", PATH]


def test_a_body_shorter_than_promised_is_refused(cache, publisher):
    def answer(request):
        request.promise(len(CONTENT))
        request.wfile.write(CONTENT[: len(CONTENT) // 2])
        request.close_connection = True

    publisher.answer = answer
    refused("made_up", cache)


def test_a_truncated_file_that_claims_to_be_complete_is_refused(cache, publisher):
    publisher.answer = lambda request: request.send_whole(CONTENT[:-1])
    refused("made_up", cache, "hash")


def test_a_dropped_connection_is_refused(cache, publisher):
    def answer(request):
        request.promise(len(CONTENT))
        request.wfile.write(CONTENT[:1000])
        request.wfile.flush()
        request.connection.shutdown(2)

    publisher.answer = answer
    refused("made_up", cache)


def test_a_connection_dropped_before_any_answer_is_refused(cache, publisher):
    publisher.answer = lambda request: request.connection.shutdown(2)
    refused("made_up", cache, "ConnectionError")


def test_a_server_that_falls_silent_is_given_up(cache, publisher, monkeypatch):
    def answer(request):
        request.promise(len(CONTENT))
        request.wfile.write(CONTENT[:1000])
        request.wfile.flush()
        publisher.quiet.wait(10)

    monkeypatch.setattr(pooch.downloaders, "DEFAULT_TIMEOUT", 0.2)
    publisher.answer = answer
    refused("made_up", cache, "timed out")


def test_nobody_at_the_address(cache, publisher):
    publisher.shutdown()
    publisher.server_close()
    refused("made_up", cache, "ConnectionError")


@pytest.mark.parametrize("name", ["made_up", "packed"])
@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_an_error_page_is_refused(cache, publisher, name, status):
    publisher.answer = lambda request: request.send_error(status)
    refused(name, cache, str(status))


@pytest.mark.parametrize("name, reason", [("made_up", "hash"), ("packed", "neither a zip nor a tar")])
def test_a_web_page_in_place_of_the_file_is_refused(cache, publisher, name, reason):
    page = b"<!doctype html><title>Moved</title><p>The data are now elsewhere.</p>"
    publisher.answer = lambda request: request.send_whole(page, "text/html")
    refused(name, cache, reason)


def test_a_page_behind_a_redirection_is_refused_and_the_file_behind_one_is_used(cache, publisher):
    def redirect(request):
        if request.path == "/elsewhere":
            request.send_whole(publisher.there)
            return
        request.send_response(302)
        request.send_header("Location", "/elsewhere")
        request.send_header("Content-Length", "0")
        request.end_headers()

    publisher.answer = redirect
    publisher.there = b"please log in"
    refused("made_up", cache)
    publisher.there = CONTENT
    assert raw_file("made_up").read_bytes() == CONTENT


@pytest.mark.parametrize("body", [b"", b"another file\n" * 100, CONTENT + b"\n"])
def test_another_file_is_refused(cache, publisher, body):
    publisher.answer = lambda request: request.send_whole(body)
    refused("made_up", cache, "hash")


# Archives ----------------------------------------------------------------------------------------------------

GOOD = {"folder/README": b"read me", MEMBER: CONTENT, "folder/more.csv": b"1,2\n"}


@pytest.mark.parametrize(
    "archive",
    [zip_with(GOOD), tar_with(GOOD), tar_with(GOOD, "w:gz")],
    ids=["zip", "tar", "tar.gz"],
)
def test_the_member_of_an_archive_is_fetched_and_nothing_else_is_unpacked(cache, publisher, archive):
    publisher.answer = lambda request: request.send_whole(archive)
    path = raw_file("packed")
    assert path.read_bytes() == CONTENT and raw_file("packed") == path
    assert publisher.requests == 1 and files(cache) == ["made_up", PATH]


BROKEN = {
    "zip without the member": (zip_with({"folder/README": b"read me"}), MEMBER),
    "tar without the member": (tar_with({"folder/README": b"read me"}), MEMBER),
    "tar where the member is a folder": (tar_with({MEMBER: None}), MEMBER),
    "zip with another version of the member": (zip_with({MEMBER: CONTENT[:-9]}), "SHA-256"),
    "tar with another version of the member": (tar_with({MEMBER: CONTENT[:-9]}), "SHA-256"),
    "zip with a flipped byte": (zip_with(GOOD, damage=True), "CRC"),
    "truncated zip": (zip_with(GOOD)[:-2000], "neither a zip nor a tar"),
    "truncated tar": (tar_with(GOOD)[:5000], "unexpected end of data"),
    "truncated tar.gz": (tar_with(GOOD, "w:gz")[:-200], ""),
    "empty archive": (b"", "neither a zip nor a tar"),
    "the member itself, not packed": (CONTENT, "neither a zip nor a tar"),
}


@pytest.mark.parametrize("archive, reason", BROKEN.values(), ids=BROKEN)
def test_a_broken_archive_is_refused(cache, publisher, archive, reason):
    publisher.answer = lambda request: request.send_whole(archive)
    refused("packed", cache, reason)


def test_a_member_that_would_leave_the_folder_is_not_looked_for(cache, publisher, tmp_path):
    archive = tar_with({"../../escaped.csv": b"out", "/tmp/escaped.csv": b"out", MEMBER: CONTENT})
    publisher.answer = lambda request: request.send_whole(archive)
    raw_file("packed")
    assert files(tmp_path) == ["cache", "cache/made_up", f"cache/{PATH}"]


# Interruptions -----------------------------------------------------------------------------------------------


def test_an_interrupted_download_leaves_nothing(cache, publisher, monkeypatch):
    begun = []
    whole = requests.Response.iter_content

    def interrupted(response, *arguments, **options):
        yield next(whole(response, 1000))
        begun.extend(path for path in cache.rglob("*") if path.is_file())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(requests.Response, "iter_content", interrupted)
        raw_file("made_up")
    assert begun and files(cache) == []  # there was a partial file, and it is gone
    assert raw_file("made_up").read_bytes() == CONTENT


def test_an_interruption_while_unpacking_leaves_nothing(cache, publisher, monkeypatch):
    def interrupted(inside, out):
        out.write(inside.read(1000))
        raise KeyboardInterrupt

    publisher.answer = lambda request: request.send_whole(zip_with(GOOD))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sources.shutil, "copyfileobj", interrupted)
        raw_file("packed")
    assert files(cache) == []
    assert raw_file("packed").read_bytes() == CONTENT


def test_a_full_disk_is_reported_and_leaves_nothing(cache, publisher, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    publisher.answer = lambda request: request.send_whole(zip_with(GOOD))
    with monkeypatch.context() as patch:
        patch.setattr(sources.shutil, "copyfileobj", full)
        refused("packed", cache, "No space left")


# Files that are there already --------------------------------------------------------------------------------


@pytest.mark.parametrize("found", [b"", CONTENT[:-1], b"something else"])
def test_a_damaged_file_in_the_cache_is_fetched_anew(cache, publisher, found):
    path = cache / PATH
    path.parent.mkdir(parents=True)
    path.write_bytes(found)
    assert raw_file("made_up") == path and path.read_bytes() == CONTENT
    assert publisher.requests == 1 and files(cache) == ["made_up", PATH]


def test_a_damaged_file_in_the_cache_is_not_used_when_nobody_answers(cache, publisher):
    path = cache / PATH
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:-1])
    publisher.answer = lambda request: request.send_error(503)
    refused("made_up", cache, "503")


def test_a_cache_folder_that_cannot_be_made_is_reported(cache, publisher):
    cache.write_text("a file where the folder should be")
    with pytest.raises(DataError, match="could not be fetched"):
        raw_file("made_up")
    assert cache.read_text() == "a file where the folder should be" and publisher.requests == 0


def test_a_given_folder_is_never_written_to_and_the_publisher_not_asked(cache, publisher, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "ratings.csv").write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match="not the file expected"):
        raw_file("made_up", folder)
    with pytest.raises(DataError, match="does not exist"):
        raw_file("made_up", tmp_path / "nowhere")
    assert files(folder) == ["ratings.csv"] and publisher.requests == 0 and not cache.exists()


@pytest.mark.parametrize("name", ["made_up", "packed"])
def test_a_file_that_cannot_be_read_is_reported(cache, tmp_path, monkeypatch, name):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "ratings.csv").write_bytes(CONTENT)

    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(sources, "_sha256", forbidden)
    with pytest.raises(DataError, match="ratings.csv cannot be read.*Permission denied"):
        raw_file(name, folder)


def test_every_source_says_where_it_comes_from():
    for name, source in SOURCES.items():
        assert source.url.startswith("https://") and len(source.sha256) == 64, name
        assert not source.path.startswith("/") and ".." not in source.path
        assert (source.member is None) == source.url.endswith((".csv", ".json")), name
    assert len({source.path for source in SOURCES.values()}) == len(SOURCES)
