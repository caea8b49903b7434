"""Sessions: places for newcomers, and what is freed when somebody has gone."""

from types import SimpleNamespace

import pytest

from tests.viz.server.asgi import ask, plain
from viz.server import sessions as sessions_module
from viz.server.sessions import FULL, NewcomersWait, Sweeper, raise_descriptor_limit


def test_the_limit_of_descriptors_is_as_high_as_the_system_allows():
    limit = raise_descriptor_limit()
    assert limit == sessions_module.descriptor_limit() >= 512
    assert 0 < sessions_module.descriptors() < limit


@pytest.fixture
def full(monkeypatch):
    monkeypatch.setattr(sessions_module, "descriptors", lambda: 1000)
    monkeypatch.setattr(sessions_module, "descriptor_limit", lambda: 1024)


def test_a_newcomer_to_a_full_server_gets_a_sentence_and_others_go_on(full, monkeypatch):
    logged = []
    monkeypatch.setattr(sessions_module, "log_rarely", lambda event, **_: logged.append(event))
    app = NewcomersWait(plain)
    start, body = ask(app)
    assert start["status"] == 503 and body["body"].decode() == FULL
    (closed,) = ask(app, "/_stcore/stream", kind="websocket")
    assert closed["type"] == "websocket.close" and "try again" in closed["reason"]
    assert ask(app, "/_stcore/health")[0]["status"] == 200
    assert logged == ["server full"] * 2


def test_a_server_with_places_takes_newcomers(monkeypatch):
    monkeypatch.setattr(sessions_module, "descriptors", lambda: 10)
    assert ask(NewcomersWait(plain))[0]["status"] == 200


class FakeServer:
    """Sessions as Streamlit's runtime has them."""

    def __init__(self, connected, away):
        self.connected, self.away, self.closed = connected, away, []
        self._session_mgr = self

    def list_active_sessions(self):
        return [SimpleNamespace(session=SimpleNamespace(id=name)) for name in self.connected]

    def list_sessions(self):
        names = [*self.connected, *self.away]
        return [SimpleNamespace(session=SimpleNamespace(id=name)) for name in names]

    def close_session(self, name):
        self.closed.append(name)
        self.away.remove(name)


def test_who_stays_away_is_forgotten_after_seconds_and_who_comes_back_is_not(monkeypatch):
    dropped, given_back = [], []
    unused = []
    budget = SimpleNamespace(let_go_unused=lambda seconds: unused.append(seconds))
    monkeypatch.setattr(sessions_module, "BUDGET", budget)
    fake = SimpleNamespace(drop_unread=lambda names, now: dropped.append(sorted(names)))
    monkeypatch.setattr(sessions_module, "watched_uploads", lambda: fake)
    monkeypatch.setattr(sessions_module, "give_memory_back", lambda: given_back.append(1))
    server, sweeper = FakeServer(["ada"], ["bob", "cleo"]), Sweeper(away_seconds=20)
    sweeper.sweep(server, now=0)
    sweeper.sweep(server, now=15)
    server.away.remove("cleo")
    server.connected.append("cleo")
    assert not server.closed
    sweeper.sweep(server, now=21)
    assert server.closed == ["bob"] and not given_back
    assert dropped[-1] == ["ada", "cleo"]
    sweeper.sweep(server, now=26)
    assert given_back == [1]
    sweeper.sweep(server, now=31)
    assert given_back == [1], "once"
    assert set(unused) == {sessions_module.UNUSED_SECONDS}
    server.connected.clear()
    sweeper.sweep(server, now=36)
    assert unused[-1] == 0, "nobody is here"


def test_memory_is_given_back_whatever_the_library():
    sessions_module.give_memory_back()
