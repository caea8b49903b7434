"""After a restart, the browser's first message carries an action of its own: it must count."""

from pathlib import Path

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg

pytest.importorskip("playwright")

from benchmarks.classroom_recording import Event, Recording
from benchmarks.classroom_server import serve
from benchmarks.classroom_student import Student, photo_of
from model import zoo
from tests.finish import finish

CIFAR = zoo.load("cifar10").card.title
ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address():
    with serve(ROOT, mode="laptop") as app:
        yield app.address


def first_run(change=lambda state: None) -> Recording:
    """What a browser sends as it connects, with what somebody just did."""
    message = BackMsg()
    change(message.rerun_script)
    return Recording(first=[Event("message", message), Event("finished")])


async def widget_ids(address) -> dict[str, str]:
    """The ids that the widgets have in every session."""
    student = Student(address, first_run())
    await student.open()
    await student.leave()
    return student.widget_ids


async def query_after(address, change, query="?photo=chelsea") -> str:
    """Connect anew with an action; return the address that the page has then."""
    ids = await widget_ids(address)
    student = Student(address, first_run(lambda state: change(state, ids)))
    await student.open(query)
    await student.leave()
    return student.query


def test_the_first_choice_of_a_photo_counts(address):
    def choose(state, ids):
        widget = state.widget_states.widgets.add(id=ids["sample"])
        widget.string_array_value.data.append("Coffee")

    assert "photo=coffee" in finish(query_after(address, choose))


def test_the_first_choice_of_a_model_counts(address):
    def choose(state, ids):
        state.widget_states.widgets.add(id=ids["model_choice"], string_value=CIFAR)

    assert "model=cifar10" in finish(query_after(address, choose))


def test_the_first_upload_counts(address):
    async def upload() -> str:
        widget = (await widget_ids(address))["upload"]
        student = Student(address, first_run(), photo_of(1))
        await student.requests.ask("GET", "/_stcore/health")
        await student.connect()
        await student.upload()
        message = BackMsg()
        state = message.rerun_script.widget_states.widgets.add(id=widget)
        file = state.file_uploader_state_value.uploaded_file_info.add()
        file.name, file.size = "photo.jpg", len(student.photo)
        file.file_id = student.own_file.file_id
        file.file_urls.CopyFrom(student.own_file)
        await student.replay([Event("message", message), Event("finished")], "photo=chelsea")
        await student.settle()
        await student.leave()
        return student.query

    assert "photo=own" in finish(upload())


def test_without_an_action_the_address_counts(address):
    found = finish(query_after(address, lambda state, ids: None, "?photo=rocket"))
    assert "photo=rocket" in found
