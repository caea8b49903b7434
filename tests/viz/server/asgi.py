"""Ask an ASGI app one thing, without a server."""

from tests.finish import finish


def ask(app, path="/", method="GET", headers=None, kind="http"):
    """Return what the app sent."""
    sent = []
    raw = [(name.lower().encode(), str(value).encode()) for name, value in (headers or {}).items()]
    scope = {"type": kind, "path": path, "method": method, "headers": raw, "query_string": b""}

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    finish(app(scope, receive, send))
    return sent


async def plain(scope, receive, send):
    """An app that says hello."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"yes")]})
    await send({"type": "http.response.body", "body": b"hello"})
