"""A fragment of a page that was left is not run any more.

Streamlit 1.67 runs it, under the address of the page it belongs to: the browser takes that for a change of the page,
empties it, and the next fragment of the page that is open finds no place to draw in: the whole window goes white. It
happened in two of five tries when `st.switch_page` left a page with a fragment that draws itself again and again.
"""

from streamlit.runtime.scriptrunner.script_runner import ScriptRunner
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData


def leave_out_late_fragments() -> None:
    """Have Streamlit leave them out; once for a server."""
    run = ScriptRunner._run_script

    def run_unless_late(self: ScriptRunner, rerun_data: RerunData) -> None:
        if rerun_data.fragment_id_queue and rerun_data.page_script_hash != self._pages_manager.current_page_script_hash:
            return
        run(self, rerun_data)

    ScriptRunner._run_script = run_unless_late  # type: ignore[method-assign]
