"""The routes: what a session was shown, and nothing else; each answer computed once."""

import gc
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from viz.server import routes
from viz.server.passes import MOST_SOURCES, NoSuchQuestion, Pass, Reply, SourceGone, find_pass
from viz.server.routes import KEEP, KEY_HEADER, LARGEST_REPORT


@dataclass(eq=False)
class Shown:
    """A source that counts how often it is asked."""

    id: str
    asked: list[str] = field(default_factory=list)

    def answer(self, question: str) -> Reply:
        self.asked.append(question)
        if question == "gone":
            raise SourceGone(question)
        if question != "whose/0":
            raise NoSuchQuestion(question)
        return Reply(self.id.encode() * 1000)


@pytest.fixture
def client():
    return TestClient(Starlette(routes=routes.ROUTES))


def ask(client, path, key=None):
    return client.get(f"/look/{path}", headers={KEY_HEADER: key} if key else {})


def test_a_session_gets_what_it_was_shown_and_browsers_may_keep_it(client):
    own, shown = Pass(), Shown("picture-1")
    key = own.grant(shown)
    response = ask(client, "picture-1/whose/0", key)
    assert response.status_code == 200 and response.content == b"picture-1" * 1000
    assert response.headers["cache-control"] == KEEP
    assert response.headers["content-encoding"] == "identity"


def test_the_neighbours_key_is_refused(client):
    own, neighbour = Pass(), Pass()
    key = own.grant(Shown("picture-2"))
    neighbour.grant(Shown("picture-3"))
    assert ask(client, "picture-2/whose/0", key).status_code == 200, "and so it is in the cache"
    for wrong in (neighbour.key, None, "", key[:-1], "x" * 10_000):
        response = ask(client, "picture-2/whose/0", wrong)
        assert response.status_code == 403 and b"picture-2" not in response.content
        assert response.headers["cache-control"] == "no-store"
    assert ask(client, "picture-3/whose/0", key).status_code == 403
    # Whoever has no pass cannot learn whether there is such a picture.
    assert ask(client, "none/whose/0", key).json() == ask(client, "picture-3/whose/0", key).json()


def test_two_who_were_shown_the_same_share_one_answer(client):
    passes, shown = [Pass(), Pass()], Shown("picture-4")
    for one in passes:
        one.grant(shown)
        assert ask(client, "picture-4/whose/0", one.key).status_code == 200
    assert shown.asked == ["whose/0"]


def test_what_cannot_be_answered_is_a_status_and_a_sentence(client):
    own = Pass()
    key = own.grant(Shown("picture-5"))
    for question, status in (("layer/7", 404), ("gone", 410)):
        response = ask(client, f"picture-5/{question}", key)
        assert response.status_code == status and response.json()["error"].endswith(".")
        assert response.headers["cache-control"] == "no-store"


def test_a_pass_ends_with_its_session():
    own = Pass()
    key = own.key
    assert len(key) >= 32 and find_pass(key) is own
    del own
    gc.collect()
    assert find_pass(key) is None


def test_a_pass_keeps_few_sources():
    own = Pass()
    for number in range(MOST_SOURCES + 1):
        own.grant(Shown(str(number)))
    assert own.source("0") is None and own.source(str(MOST_SOURCES)) is not None


# -- reports --------------------------------------------------------------------------------------


def hand_over(client, key, content):
    return client.post("/look/view", headers={KEY_HEADER: key}, content=content)


def test_a_view_is_reported_to_its_own_session(client):
    own, neighbour = Pass(), Pass()
    content = b'{"scope": "explore", "view": {"layer": 3}}'
    assert hand_over(client, own.key, content).status_code == 204
    assert neighbour.take_report("explore") is None and own.take_report("captions") is None
    assert own.take_report("explore") == {"layer": 3}
    assert own.take_report("explore") is None, "it is taken once"
    assert hand_over(client, "nobody's", content).status_code == 403


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"\xff", 400),
        (b"[" * 3000, 400),
        (b"[1]", 400),
        (b'{"scope": "explore"}', 400),
        (b'{"scope": "explore", "view": 3}', 400),
        (b'{"scope": "else", "view": {}}', 400),
        (b'{"scope": ["explore"], "view": {}}', 400),
        (b" " * (LARGEST_REPORT + 1), 413),
    ],
)
def test_what_is_no_report_is_refused(client, content, status):
    own = Pass()
    assert hand_over(client, own.key, content).status_code == status
    assert own.take_report("explore") is None
