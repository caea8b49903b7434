"""Saccade on the command line: `saccade app`, `saccade show IMAGE`, `saccade export IMAGE ...`.

app      opens the app; what follows goes to `streamlit run`: saccade app --server.port 8600
show     writes one HTML file that follows the mouse, IMAGE.html, and opens it in the browser
export   writes pictures and numbers into a folder: saccade export IMAGE --out DIR; with --all more

show and export take every option of `python -m viz`: --model NAME, --layers 0,5,11 ...
"""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; return 0 where it did all that was asked."""
    command, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("-h", "--help"):
        print(__doc__)
        return 0
    if command not in COMMANDS:
        print(f"saccade {command}: there is {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    import_own()
    return COMMANDS[command](rest)


def import_own() -> None:
    """Import the packages beside this one, whatever else on Python's path bears their names.

    A student's own `model.py` in the folder where the command runs stays as it is, unused.
    """
    here = str(Path(__file__).parents[1])
    sys.path.insert(0, here)
    try:
        import_module("model")
        import_module("viz")
    finally:
        sys.path.remove(here)


def open_app(options: list[str]) -> int:
    """Serve the app until it is stopped, with the settings that it came with."""
    from streamlit.web import cli

    from model.home import HOME

    cli.main_run([str(HOME / "app.py"), *options], "saccade app")
    return 0


def show_picture(options: list[str]) -> int:
    """Write one HTML file of a picture, and open it where somebody sits at a terminal."""
    from viz.__main__ import command_parser
    from viz.__main__ import main as draw

    name = "saccade show"
    given = command_parser(name).parse_args(options)
    file = given.html or Path(given.image.name).with_suffix(".html")
    failed = draw([*options, "--html", str(file)], name)
    if not failed and sys.stdout.isatty():
        webbrowser.open(file.resolve().as_uri())
    return failed


def export_pictures(options: list[str]) -> int:
    """Write pictures and numbers."""
    from viz.__main__ import main as draw

    return draw(options, "saccade export")


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "app": open_app,
    "show": show_picture,
    "export": export_pictures,
}

if __name__ == "__main__":
    sys.exit(main())
