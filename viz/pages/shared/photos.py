"""Photos as the browser gets them: once, under a name that tells their content."""

from dataclasses import dataclass
from hashlib import sha256

from model.bundle import Bundle
from viz.components.payload import photo_bytes
from viz.pages.shared.browser import browser_pass
from viz.pages.shared.picture import Picture
from viz.pages.shared.scene import enlarged
from viz.server.passes import NoSuchQuestion, Reply
from viz.server.results import computed_once

CACHE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class SentPhoto:
    """A photo as JPEG; as a source it answers one question, ``photo``."""

    id: str
    jpeg: bytes

    def answer(self, question: str) -> Reply:
        """Reply a question, as `viz.server.passes.Source`."""
        if question != "photo":
            raise NoSuchQuestion(question)
        return Reply(self.jpeg, "image/jpeg")


def grant_photo(jpeg: bytes, name: str = "photo") -> dict[str, str]:
    """Let the session's browser ask for a photo; return the header entries of a payload."""
    photo = SentPhoto(sha256(jpeg).hexdigest()[:20], jpeg)
    return {name: photo.id, "key": browser_pass().grant(photo)}


@computed_once("framed", key=lambda bundle, shown: (bundle.name, shown.key), size=len)
def framed_photo(bundle: Bundle, shown: Picture) -> bytes:
    """Encode what a model sees of a picture, as JPEG."""
    return photo_bytes(enlarged(bundle.frame(shown.image)))
