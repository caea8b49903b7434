"""Uploads: only what a field asked for, within its size, and no longer than it is needed."""

import pytest
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from tests.viz.server.asgi import ask, plain
from viz.server import uploads as uploads_module
from viz.server.class_mode import MODES
from viz.server.uploads import FRAME_BYTES, PATH, UNREAD_SECONDS, UploadLimits, Uploads

MEGABYTE = 2**20


@pytest.fixture
def uploads():
    return Uploads(MemoryUploadedFileManager("/_stcore/upload_file"), MODES["laptop"])


def issue(uploads, name="photo.png", session="ada"):
    return uploads.manager.get_upload_urls(session, [name])[0].file_id


def keep(uploads, file_id, data=b"x" * 100, session="ada"):
    uploads.manager.add_file(session, UploadedFileRec(file_id, "photo.png", "image/png", data))


def test_a_file_that_no_field_asked_for_is_refused(uploads):
    file_id = issue(uploads)
    assert uploads.why_refused("ada", "guessed", 10)[0] == 403
    assert uploads.why_refused("bob", file_id, 10)[0] == 403
    assert uploads.why_refused("ada", file_id, 10) is None
    assert uploads.refused == {"not asked for": 2}


@pytest.mark.parametrize(
    ("name", "most"), [("photo.PNG", 64), ("photo.heic", 64), ("mine.safetensors", 400)]
)
def test_a_file_is_measured_by_the_field_that_takes_its_kind(uploads, name, most):
    file_id = issue(uploads, name)
    assert uploads.why_refused("ada", file_id, most * MEGABYTE + FRAME_BYTES) is None
    status, sentence = uploads.why_refused("ada", file_id, most * MEGABYTE + FRAME_BYTES + 1)
    assert status == 413 and f"up to {most} MB" in sentence


def test_where_no_weights_are_taken_every_file_is_measured_as_a_photo():
    uploads = Uploads(MemoryUploadedFileManager("/upload"), MODES["class"])
    file_id = issue(uploads, "mine.safetensors")
    assert uploads.why_refused("ada", file_id, 21 * MEGABYTE)[0] == 413


def test_a_file_of_unknown_length_is_refused(uploads):
    assert uploads.why_refused("ada", issue(uploads), None)[0] == 411


def test_one_session_cannot_fill_the_server(uploads):
    for _ in range(13):
        keep(uploads, issue(uploads), bytes(60 * MEGABYTE))
    file_id = issue(uploads)
    assert uploads.why_refused("ada", file_id, 20 * MEGABYTE)[0] == 413
    assert uploads.why_refused("bob", issue(uploads, session="bob"), 20 * MEGABYTE) is None


def test_a_full_server_says_try_again(uploads, monkeypatch):
    monkeypatch.setattr(uploads_module.BUDGET, "limit", 1000)
    status, sentence = uploads.why_refused("ada", issue(uploads), 10_000)
    assert status == 503 and "Try again" in sentence


def test_bytes_that_were_used_are_let_go_and_the_name_stays(uploads):
    file_id = issue(uploads)
    keep(uploads, file_id)
    assert uploads.nbytes == 100
    uploads.let_go("ada", file_id)
    assert uploads.nbytes == 0
    assert [file.name for file in uploads.manager.get_files("ada", [file_id])] == ["photo.png"]


def test_what_no_field_reads_is_dropped_and_what_one_reads_stays(uploads):
    read, unread = issue(uploads), issue(uploads)
    keep(uploads, read)
    keep(uploads, unread)
    uploads.manager.get_files(session_id="ada", file_ids=[read])
    now = max(issued.when for issued in uploads._issued.values())
    uploads.drop_unread(["ada"], now + UNREAD_SECONDS - 1)
    assert uploads.nbytes == 200
    uploads.drop_unread(["ada"], now + UNREAD_SECONDS + 1)
    assert uploads.nbytes == 100
    assert uploads.why_refused("ada", unread, 10)[0] == 403, "its address is no longer good"


def test_what_came_after_its_session_had_gone_is_dropped(uploads):
    file_id = issue(uploads)
    keep(uploads, file_id)
    uploads.drop_unread(["bob"])
    assert uploads.nbytes == 0 and not uploads._issued


def test_a_refused_upload_is_answered_before_its_body_is_read(uploads, monkeypatch):
    monkeypatch.setattr(uploads_module, "watched_uploads", lambda: uploads)
    file_id, app = issue(uploads), UploadLimits(plain)

    def put(file_id, length):
        return ask(app, f"{PATH}ada/{file_id}", "PUT", {"Content-Length": length})[0]["status"]

    assert put(file_id, 100) == 200
    assert put(file_id, 100 * MEGABYTE) == 413
    assert put("guessed", 100) == 403
    assert ask(app, f"{PATH}ada/{file_id}", "PUT")[0]["status"] == 411
    assert ask(app, f"{PATH}ada/guessed", "DELETE")[0]["status"] == 200
