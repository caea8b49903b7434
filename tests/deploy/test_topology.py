"""Three real processes behind HAProxy, with the proxy's own file: limits, loyalty, and a death."""

import asyncio
from pathlib import Path

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg

pytest.importorskip("playwright")

from benchmarks.classroom_recording import Event, Recording
from benchmarks.classroom_server import HAPROXY, serve_replicas
from benchmarks.classroom_student import Lost, Requests, Student
from tests.finish import finish
from viz.server.headers import HEADERS

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed"),
]
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def topology():
    with serve_replicas(ROOT, 3, ROOT / "deploy/haproxy.cfg") as (address, apps):
        yield address, apps


def ask(address, method="GET", path="/", headers=None, body=b""):
    async def ask_once():
        requests = Requests(address)
        try:
            return await requests.ask(method, path, headers or {}, body)
        finally:
            requests.close()

    return finish(ask_once())


def ways(topology):
    """The address of the proxy, and of one process behind it."""
    address, apps = topology
    return [address, apps[0].address]


def test_every_way_in_sets_the_security_headers(topology):
    for address in ways(topology):
        for path in ("/", "/_stcore/health"):
            status, _, headers = ask(address, path=path)
            assert status == 200
            for name, value in HEADERS.items():
                assert headers[name.lower()] == value, (address, path, name)


def test_no_way_in_takes_a_file_that_nobody_asked_for_or_one_too_large(topology):
    path = "/_stcore/upload_file/guessed/guessed"
    for address in ways(topology):
        assert ask(address, "PUT", path, body=b"x" * 1000)[0] == 403
    huge = {"Content-Length": str(22 * MEGABYTE)}
    assert ask(topology[0], "PUT", path, huge)[0] == 413


def test_a_field_of_a_page_takes_a_photo_and_not_a_huge_one(topology):
    async def put(address, count):
        student = Student(address, opening(), b"x" * count)
        await student.open()
        try:
            await student.upload()
        except Lost as loss:
            return str(loss)
        finally:
            await student.leave()
        return "taken"

    proxy, app = ways(topology)
    assert finish(put(proxy, 1000)) == finish(put(app, 1000)) == "taken"
    assert "413" in finish(put(app, 22 * MEGABYTE))
    assert finish(put(proxy, 22 * MEGABYTE)) != "taken"  # it hangs up before all was sent


def test_numbers_are_for_the_operator(topology):
    address, apps = topology
    assert ask(address, path="/metrics")[0] == 404
    assert ask(address, path="/_stcore/metrics")[0] == 404
    for app in apps:
        status, body, _ = ask(app.address, path="/metrics")
        assert status == 200 and b"saccade_sessions" in body


def opening() -> Recording:
    message = BackMsg()
    message.rerun_script.SetInParent()
    events = [Event("message", message), Event("finished")]
    return Recording(events, {"look": [events]})


def test_a_visitor_stays_with_a_process_and_comes_back_when_it_dies(topology):
    address, apps = topology

    async def visit():
        students = [Student(address, opening()) for _ in range(6)]
        for student in students:
            await student.open("?photo=rocket")
        places = [student.requests.cookies["SACCADE"] for student in students]
        assert len(set(places)) == 3, "the visitors are spread"
        for student in students:
            for _ in range(4):
                await student.requests.ask("GET", "/_stcore/health")
            await student.act("look")
        assert places == [student.requests.cookies["SACCADE"] for student in students]

        apps[2].kill()
        lost = []
        for student in students:
            try:
                await student.act("look")
            except Lost:
                lost.append(student)
        assert len(lost) == 2, "the others notice nothing"
        for student in lost:
            await comes_back(student)
            assert "photo=rocket" in student.query, "its page is back from its address"
        assert len({student.requests.cookies["SACCADE"] for student in students}) == 2
        for student in students:
            await student.leave()

    finish(visit())


async def comes_back(student: Student, tries: int = 20) -> None:
    for _ in range(tries):
        try:
            await student.come_back()
            return
        except Lost:
            await asyncio.sleep(0.5)
    raise AssertionError("nobody took the visitor in")
