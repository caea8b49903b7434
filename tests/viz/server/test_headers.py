"""The headers of every answer."""

from tests.viz.server.asgi import ask, plain
from viz.server.headers import (
    CONTENT_SECURITY_POLICY,
    HEADERS,
    SecurityHeaders,
    permissions_policy,
)


def test_every_answer_has_the_headers_and_keeps_its_own():
    start, body = ask(SecurityHeaders(plain))
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert headers["x-own"] == "yes" and body["body"] == b"hello"
    assert {name.lower() for name in HEADERS} <= headers.keys()
    assert headers["x-content-type-options"] == "nosniff"


def test_an_answer_may_have_a_policy_of_its_own():
    async def strict(scope, receive, send):
        headers = [(b"content-security-policy", b"sandbox")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    (start,) = ask(SecurityHeaders(strict))
    assert start["headers"].count((b"content-security-policy", b"sandbox")) == 1
    assert sum(name == b"content-security-policy" for name, _ in start["headers"]) == 1


def test_a_page_frames_only_itself_and_runs_no_text_as_a_program():
    rules = dict(rule.split(" ", 1) for rule in CONTENT_SECURITY_POLICY.split("; "))
    assert rules["frame-ancestors"] == "'self'" and rules["object-src"] == "'none'"
    assert "'unsafe-inline'" not in rules["script-src"]
    assert "'unsafe-eval'" not in rules["script-src"]
    assert not any("http" in rule or "*" in rule for rule in rules.values())


def test_the_camera_is_the_page_s_own_or_nobody_s():
    assert HEADERS["Permissions-Policy"].startswith("camera=(self), microphone=()")
    assert permissions_policy(camera=False).startswith("camera=(), ")
