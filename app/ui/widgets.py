"""Fragments that several pages repeat: escaped text, numbers in words, errors, provenance, empty pages."""

import mimetypes
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from app.ui import session
from spd_core.models.packaged import full_name
from spd_core.storage import home_at, spd_home
from spd_core.text import shown

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from streamlit.delta_generator import DeltaGenerator

    from spd_core.subspace.analysis import Analysis, Provenance


def escaped(text: str) -> str:
    """Text of a user, a file or a model so that Streamlit's markdown shows it as it is, and fetches nothing.

    Characters that act on what surrounds them, as those that turn the direction of text, are spelled out.
    """
    text = shown(text)
    if "\n" in text:  # an empty line would end the paragraph, and what is indented after it would be code
        text = "\n".join(line if line.strip() else "\u00a0" for line in text.split("\n"))
    unlinked = _ACTS.sub("\u2060", text)
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", unlinked).replace("\n", "  \n")


# Streamlit makes links of addresses and typography of ` -> ` even where every character is escaped: a word joiner,
# which nobody sees, stands in between.
_ACTS = re.compile(
    r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=[\w.+-])(?=@[\w-]+\.)|(?<=(?<!\S)[<>~-])(?=-?[>=-](?!\S))", re.IGNORECASE
)


def caption(markdown: str) -> None:
    """A smaller line in the full text colour: `st.caption` is too faint for a projector."""
    st.markdown(f":small[{markdown}]")


def distinct_labels(names: Sequence[str], label: Callable[[str], str]) -> Callable[[str], str]:
    """`label` for a picker's options; a selectbox chooses by label, so equal ones get the end of their name."""
    labels = {name: label(name) for name in names}
    often = Counter(labels.values())
    return lambda name: labels[name] if often[labels[name]] == 1 else f"{labels[name]} · {name[-7:]}"


def counted(n: int, what: str) -> str:
    """`1 token`, `2 tokens`."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def ranges(numbers: list[int]) -> str:
    """`3, 7–9`: ascending numbers, runs of three and more drawn together."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def model_name(record: "Provenance") -> str:
    """model@revision; the built-in model's revision carries its name."""
    return full_name(record.model, record.revision)


def provenance(analysis: "Analysis", *more: str) -> None:
    """One line under a result: what made it."""
    record = analysis.provenance
    facts = (
        f"{model_name(record)}, {record.dtype} on {record.device}",
        f"{record.capability} ({record.fingerprint[:12]})",
        counted(record.examples_used, "example"),
        f"{record.loss} loss, {record.prompt_style} prompts, batch size {record.batch_size}",
        f"layers {ranges(record.layers)}, {'centred' if record.center else 'not centred'}",
        *more,
    )
    caption(f"Provenance: {escaped(' · '.join(facts))}")


def gib(size: float) -> str:
    """A number of bytes for people."""
    return f"{size / 2**30:.1f} GiB"


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 5 min`, `4 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:,.0f} days"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def failure(what: str, message: str) -> None:
    """An error with its remedy; what was there before stays."""
    st.error(f"**{what}** {escaped(message)}", icon=":material/error:")


def tokens_link(label: str) -> None:
    """The way to the tokens of the direction in hand, whatever was looked at there last."""
    st.page_link(
        session.ATTRIBUTIONS,
        label=label,
        icon=":material/arrow_forward:",
        query_params={session.ATTRIBUTION_VIEW: session.ENERGY_SHARES},
    )


def no_tokens(analysis: "Analysis") -> str:
    """Why nothing is known of single tokens, and what helps."""
    made_of = analysis.provenance.left_out
    if made_of is None:
        return "This capture kept no single tokens: they did not fit in memory. Capture fewer examples or layers."
    return (
        f"The capture of {escaped(made_of.capability)} that this contrast was made of kept single tokens for its first "
        "directions only. Capture it on Home, and make the contrast of that."
    )


def empty_page(what: str) -> None:
    """Say what to click when there is nothing to show yet, and end the page."""
    st.info(f"{what} Go to **Home**, choose a capability and press **Capture gradients**.")
    st.page_link(session.HOME, label="Go to Home", icon=":material/home:")
    st.stop()


_BUTTONS_IN_THE_WAY = ["zoom2d", "pan2d", "select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]
"""Of plotly's toolbar, which lies over the figure: the mouse does the same. What stays resets the axes, or saves."""


def chart(figure: "Figure", *, key: str, alt: str, pick: Callable[[Any], None] | None = None) -> None:
    """Draw a figure in its own theme, with plotly's buttons (PNG among them).

    `pick` gets what a clicked point carries as `customdata`, before the page is run again.
    """

    def picked() -> None:
        points = st.session_state[key]["selection"]["points"]
        if pick is not None and points and points[0].get("customdata") is not None:
            pick(points[0]["customdata"])

    if pick is not None:  # what Streamlit would set a moment later, and have all drawn again
        figure.update_layout(clickmode="event+select", dragmode="pan")
    image = {"format": "png", "scale": 2, "filename": key.removeprefix("chart_")}
    st.plotly_chart(
        figure,
        key=key,
        alt=alt,
        theme=None,
        selection_mode="points",
        on_select=picked if pick else "ignore",
        config={"displaylogo": False, "toImageButtonOptions": image, "modeBarButtonsToRemove": _BUTTONS_IN_THE_WAY},
    )


def download(
    label: str,
    make: Callable[[], bytes],
    file_name: str,
    *,
    help: str | None = None,
    width: int | Literal["content"] = "content",
) -> None:
    """A button that makes a file when it is asked for; the page does not run again."""
    kind, home = mimetypes.guess_type(file_name)[0] or "application/octet-stream", spd_home()

    def made() -> bytes:  # outside of the page's run, which knows whose folder is meant
        with home_at(home):
            return make()

    st.download_button(
        label,
        data=made,
        file_name=file_name,
        mime=kind,
        on_click="ignore",
        key=f"save_{file_name}",
        icon=":material/download:",
        help=help,
        width=width,
    )


def delete_button(
    button: str,
    what: str,
    row: "DeltaGenerator",
    *,
    delete: Callable[[], None],
    disabled: bool,
    warn: Callable[[], str] = str,
) -> None:
    """A button in `row` that deletes what is called `what`, once that is confirmed below.

    `warn` finds out what else that would mean; empty where nothing.
    """
    asked = f"{session.ASKED_TO_DELETE}_{button}"
    if row.button(
        button, icon=":material/delete:", disabled=disabled, help="Asks before it deletes its files; recorded ones stay"
    ):
        st.session_state[asked] = what
    if disabled or st.session_state.get(asked) != what:
        return
    st.markdown(f"**{escaped(what)}** will be deleted permanently.")
    if trouble := warn():
        st.warning(escaped(trouble), icon=":material/link_off:")
    answers = st.container(horizontal=True)
    answers.button("Keep it", on_click=st.session_state.pop, args=(asked, None), key=f"{asked}_no")
    if answers.button("Delete permanently", type="primary", key=f"{asked}_yes"):
        del st.session_state[asked]
        delete()


def news() -> None:
    """Say what the run before has left to `session.say_next`."""
    if session.NEWS in st.session_state:
        st.toast(st.session_state[session.NEWS])
        del st.session_state[session.NEWS]  # last: a run that is broken off says it again


def is_dark() -> bool:
    """Whether the browser shows the dark theme."""
    return st.context.theme.type == "dark"
