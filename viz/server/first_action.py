"""What a browser brings along as its session begins: the first action after a restart.

When the server was restarted, a browser reconnects and gets a new session, whose first run comes
with what somebody just did. Streamlit calls nothing back in a first run, since it knows no value
from before. So a page asks here whether the browser brought a value of its own before it gives a
widget a default.
"""

from streamlit.runtime.scriptrunner import get_script_run_ctx


def browser_brought(key: str) -> bool:
    """Say whether this is a session's first run, and the browser has a value for this widget."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is None:
        return False
    state = context.session_state._state
    # Streamlit ends the id of a widget with its key, and has the values by id until the widget
    # is made.
    return not state._old_state and any(
        widget.endswith(f"-{key}") for widget in state._new_widget_state
    )
