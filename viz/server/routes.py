"""The routes beside Streamlit's own: each answers one small question without a rerun of a page.

``GET /look/SOURCE/QUESTION`` answers a question about a source, such as a layer of a recorded
image; ``POST /look/view`` takes the view that the browser shows. Both need the key of a session's
pass, in a header: an address is the same for everybody who sees the same picture, so browsers keep
the answers.
"""

import json

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from model.errors import WorkRefused
from viz.server.budget import BUDGET, Cache
from viz.server.passes import NoSuchQuestion, Pass, Reply, SourceGone, find_pass
from viz.server.queue import QUEUE, Abandoned

KEY_HEADER = "X-Saccade-Key"
KEEP = "private, max-age=31536000, immutable"
"""An answer never changes: its address names the content."""
LARGEST_REPORT = 4096  # bytes
SCOPES = ("explore", "captions")
"""The components that report their view."""

_REFUSED = "This was not shown in your session. Reload the page."
_UNKNOWN = "There is no such question."
_GONE = "This had to make room for others."
_NO_VIEW = "This is no view of a component."

_answers: Cache[Reply] = BUDGET.cache("answers", size=lambda answer: len(answer.body) + 1024)


def _pass_of(request: Request) -> Pass | None:
    return find_pass(request.headers.get(KEY_HEADER, ""))


def _refuse(sentence: str, status: int) -> Response:
    return JSONResponse({"error": sentence}, status, headers={"Cache-Control": "no-store"})


async def show_answer(request: Request) -> Response:
    """Reply a question about a source that this session was shown."""
    asker = _pass_of(request)
    source = asker.source(request.path_params["source"]) if asker else None
    if asker is None or source is None:
        return _refuse(_REFUSED, 403)
    question = request.path_params["question"]
    key = (source.id, question)
    answer = _answers.get(key)
    if answer is None:
        try:
            answer = await QUEUE.answer(
                ("answer", *key),
                lambda: source.answer(question),
                asker.key,
                is_gone=request.is_disconnected,
            )
        except NoSuchQuestion:
            return _refuse(_UNKNOWN, 404)
        except SourceGone:
            return _refuse(_GONE, 410)
        except (WorkRefused, Abandoned) as problem:
            return _refuse(str(problem), 503)
        _answers[key] = answer
    # Named, or Streamlit's middleware would compress the same bytes for each asker anew.
    headers = {"Cache-Control": KEEP, "Content-Encoding": "identity"}
    return Response(answer.body, media_type=answer.media_type, headers=headers)


async def take_view(request: Request) -> Response:
    """Take the view that a component shows, for the session's next rerun."""
    asker = _pass_of(request)
    if asker is None:
        return _refuse(_REFUSED, 403)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_REPORT:
            return _refuse(_NO_VIEW, 413)
    try:
        message = json.loads(body)
        scope, view = message["scope"], message["view"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return _refuse(_NO_VIEW, 400)
    if scope not in SCOPES or not isinstance(view, dict):
        return _refuse(_NO_VIEW, 400)
    asker.report(scope, view)
    return Response(status_code=204)


ROUTES: list[BaseRoute] = [
    Route("/look/view", take_view, methods=["POST"]),
    Route("/look/{source}/{question:path}", show_answer),
]
"""What ``app.py`` serves besides the pages. No path begins with ``_stcore``, ``media``,
``component`` or ``static``, which are Streamlit's."""
