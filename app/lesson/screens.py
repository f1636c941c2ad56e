"""The seven steps of the lesson on the page: a picture, what it shows, something to try, a question."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from app.lesson import charts, numbers, sentences
from app.lesson.cloud import draw_cloud, say_drawn
from app.lesson.stepper import is_presented
from app.ui import session
from app.ui.difference_charts import differences
from app.ui.open_tables import table_of
from app.ui.recorded_texts import recorded_of
from app.ui.set_panels import compared_sets
from app.ui.tokens import loss_mask_html
from app.ui.verdict import draw_verdict
from app.ui.widgets import caption, chart, escaped, is_dark, no_tokens
from spd_core.errors import InputError
from spd_core.glossary import meaning
from spd_core.recipes.evaluation import EvaluationRecipe
from spd_core.runs.folder import recorded_runs

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from streamlit.delta_generator import DeltaGenerator

    from spd_core.data.spans import Encoded
    from spd_core.subspace.analysis import Analysis


def _draw(
    picture: "DeltaGenerator", figure: "Figure", key: str, alt: str, pick: "Callable[[int], None] | None" = None
) -> None:
    """A chart, its type as large as that of the page."""
    if is_presented():
        figure.update_layout(font_size=20, height=max(560, figure.layout.height))
    with picture:
        chart(figure, key=key, alt=alt, pick=pick)


def _pick_text(analysis: "Analysis") -> None:
    """The text is the same on all pages; another one begins at its first loss token."""

    def choose() -> None:
        session.select(example=st.session_state[session.LESSON_TEXT] - 1, token=0)
        st.session_state.pop(session.LESSON_TOKEN, None)

    st.session_state[session.LESSON_TEXT] = session.selection(analysis).example + 1
    st.slider("Text", 1, max(len(analysis.examples), 2), key=session.LESSON_TEXT, on_change=choose)


def _pick_token(encoded: "Encoded") -> int:
    """The token that steps 2 and 3 look at: the first loss token until another is chosen."""
    last = len(encoded.ids) - 1
    if session.LESSON_TOKEN in st.session_state:  # of a longer text
        st.session_state[session.LESSON_TOKEN] = session.clamped(st.session_state[session.LESSON_TOKEN], 0, last)
    return int(st.slider("Token", 0, last, encoded.supervised[0], key=session.LESSON_TOKEN, bind="query-params"))


def loss_tokens(analysis: "Analysis", picture: "DeltaGenerator") -> str:
    """Step 1: draws its control here and its picture there, as each of them does, and returns what it shows."""
    _pick_text(analysis)
    encoded = analysis.examples[session.selection(analysis).example]
    picture.container(key="lesson_strip").html(loss_mask_html(encoded))
    return sentences.say_loss(encoded, analysis.provenance)


def keys_and_values(analysis: "Analysis", picture: "DeltaGenerator") -> str:
    """Step 2."""
    at = session.selection(analysis)
    encoded = analysis.examples[at.example]
    token = _pick_token(encoded)
    site = analysis.site(at.layer, at.kind)
    held = numbers.token_held(analysis, site, at.example, token)
    _draw(
        picture,
        charts.held_figure(held.along, held.reach, is_dark()),
        "chart_held",
        "A bar for each direction of one token",
    )
    return sentences.say_held(sentences.quoted_token(encoded, token), at.kind, at.layer, site.d_kv, held)


def gradients(analysis: "Analysis", picture: "DeltaGenerator") -> str:
    """Step 3."""
    at = session.selection(analysis)
    encoded = analysis.examples[at.example]
    token = _pick_token(encoded)
    without = st.toggle("Leave out the first position", key=session.LESSON_ASIDE, bind="query-params")
    found = numbers.arrows(analysis, analysis.site(at.layer, at.kind), at.example, without)
    names = [sentences.quoted_token(encoded, place) for place in found.tokens.tolist()]
    figure = charts.arrows_figure(found, names, encoded.supervised, token, is_dark())
    _draw(picture, figure, "chart_arrows", "An arrow for the gradient of each token", _choose_token)
    return sentences.say_arrows(found, encoded, token)


def _choose_token(token: int) -> None:
    st.session_state[session.LESSON_TOKEN] = int(token)


def directions(analysis: "Analysis", picture: "DeltaGenerator") -> str:
    """Step 4."""
    at = session.selection(analysis)
    site = analysis.site(at.layer, at.kind)
    degrees = int(st.slider("Turn the line (degrees)", 0, 180, 60, 5, key=session.LESSON_ANGLE, bind="query-params"))
    with picture:
        draw_cloud(analysis, site, degrees)
    return sentences.say_line(analysis.sites[site].values, degrees)


def projection(analysis: "Analysis", picture: "DeltaGenerator") -> str:
    """Step 5."""
    at = session.selection(analysis)
    rank = min(session.chosen_rank(analysis.d_kv), analysis.kept_directions)
    points = numbers.inside_and_outside(analysis, analysis.site(at.layer, at.kind), rank)
    strength = float(st.slider("Strength", 0.0, 1.0, 0.0, 0.05, key=session.LESSON_STRENGTH, bind="query-params"))
    _draw(picture, charts.moved_figure(points, strength, is_dark()), "chart_moved", "Every token as a point")
    with picture:
        say_drawn(min(len(points.values), charts.MOST_DRAWN), len(points.values))
    return sentences.say_moved(points, strength, at.kind)


def text_that_changes(analysis: "Analysis", picture: "DeltaGenerator") -> str:
    """Step 6."""
    found = list(recorded_of(analysis.name))
    if not found:
        st.info("No text is recorded for this capture: write one on **Side by side**, or switch to a recorded capture.")
        st.page_link(session.SIDE_BY_SIDE, label="Go to Side by side", icon=":material/splitscreen_right:")
        return ""
    telling = next((at for at, one in enumerate(found, 1) if len({lane.text for lane in one.lanes}) > 1), 1)
    numbered = {str(at): one for at, one in enumerate(found, 1)}
    one = numbered[_pick("Prompt", session.LESSON_PROMPT, list(numbered), str(telling))]
    picture.text(one.prompt)
    for column, lane in zip(picture.columns(len(one.lanes[:3])), one.lanes[:3], strict=True):
        column.markdown(f"**{escaped(lane.label)}**")
        column.text(lane.text.strip())
    return sentences.say_texts(one, numbers.others_differ(found), len(found))


def whether_it_helped(analysis: "Analysis", picture: "DeltaGenerator") -> str:
    """Step 7: the recorded evaluation, whatever it shows."""
    run = next((run for run in recorded_runs() if isinstance(run.record.recipe, EvaluationRecipe)), None)
    if run is None:
        st.info("No evaluation is recorded: make one on **Evaluation**.")
        return ""
    table = table_of(run)
    titles = {column.title: column.name for column in compared_sets(table)}
    name = titles[_pick("Set", session.LESSON_SET, list(titles), next(iter(titles)))]
    claims = [claim for (_, of), claim in table.claims.items() if of == name]
    figure = differences(table, is_dark(), only=name)
    _draw(picture, figure, "chart_claims", "Differences to the base with their intervals")
    return sentences.say_claim(table.claims.get(("spd", name), claims[0]))


def _pick(label: str, key: str, options: list[str], first: str) -> str:
    """One of a few; what is no option (any more), as after another capture, gives way to the first one."""
    if st.session_state.get(key, first) not in options:
        st.session_state[key] = first
    chosen = st.segmented_control(label, options, default=first, required=True, key=key, bind="query-params")
    return chosen or first


@dataclass(frozen=True)
class LessonStep:
    """One screen; `formula` is LaTeX, and `words` are terms of the glossary."""

    title: str
    tries: str
    draw: "Callable[[Analysis, DeltaGenerator], str]"
    formula: str
    words: tuple[str, ...]
    question: str
    answer: str
    needs_tokens: bool = True


STEPS = (
    LessonStep(
        "Loss tokens", "Choose another text.", loss_tokens,
        r"L = -\frac{1}{|S|} \sum_{t \in S} \log p(z_t \mid z_{<t})", ("Loss", "Loss tokens", "Log p"),
        "Why is the loss not taken on every token?",
        "Most tokens say nothing of whether the answer is right; their gradients would be about wording.",
        needs_tokens=False,
    ),
    LessonStep(
        "Keys and values", "Move to another token.", keys_and_values,
        r"k_t = W_K h_t + b_K, \quad v_t = W_V h_t + b_V", ("Key", "Value", "d_kv", "Direction"),
        "Which token has the shortest bars?", f"Try the first position. {meaning('first position')}",
    ),
    LessonStep(
        "Gradients", "Choose a token: its arrow stands out.", gradients, r"g_t = \partial L / \partial v_t",
        ("Gradient", "Energy", "First position"), "Why do tokens that carry no loss have a gradient?",
        "Later tokens attend to them: another key or value there changes how likely the right answer is. The last "
        "token has next to none, though it carries loss: nothing comes after it.",
    ),
    LessonStep(
        "Directions", "Drag the cloud to turn it; turn the line until it holds the most.", directions,
        r"\sigma_i^2 = \sum_t \left((g_t - \mu) \cdot u_i\right)^2", ("Direction", "Singular value", "Energy"),
        "At which angle does the line hold the most energy?",
        "At 0° and 180°, along direction 1: that is how the singular value decomposition chooses it.",
    ),
    LessonStep(
        "Projection", "Raise the strength to 1.", projection, r"\tilde K = K + \alpha (K P - K), \quad P = U U^\top",
        ("Capability subspace", "Projection", "Rank", "Strength"), "What is left at strength 1?",
        "Only what lies inside the subspace: every point has come down to 0 outside of it.",
    ),
    LessonStep(
        "The text", "Choose another prompt.", text_that_changes, r"\tilde K = K P, \quad \tilde V = V P",
        ("Raw", "Projected", "Random subspace"), "Why is there a random subspace?", meaning("random subspace"),
        needs_tokens=False,
    ),
    LessonStep(
        "Did it help?", "Look at the other set.", whether_it_helped, r"\Delta = \text{subject} - \text{base}",
        ("Self-Policy Distillation", "Arm", "95% interval"), "What does an interval that holds zero say?",
        f"That none is shown, and not that there is none. {meaning('95% interval')}", needs_tokens=False,
    ),
)  # fmt: skip
_WORKSHEETS = "For a class: worksheets of 30, 60 and 90 minutes, with solutions, lie in the folder `docs/teaching`."


def draw_step(analysis: "Analysis", step: LessonStep) -> None:
    """One screen: what the picture shows and what to try beside it; the question and the formula, both folded."""
    beside, picture = st.columns([2, 3], gap="large")
    with beside:
        told = st.container()
        st.markdown(f"**To try:** {step.tries}")
        said = _drawn(analysis, step, picture)
        if step is STEPS[-1] and not is_presented():
            caption(_WORKSHEETS)
    if said:
        with told:
            draw_verdict(said)
    asked, formula = st.columns([2, 3], gap="large")
    with asked.expander(f"**{step.question}**"):
        st.markdown(step.answer)
    with formula.expander("The formula, and what the words mean"):
        st.latex(step.formula)
        for word in step.words:
            st.markdown(f"**{escaped(word)}:** {escaped(meaning(word))}")


def _drawn(analysis: "Analysis", step: LessonStep, picture: "DeltaGenerator") -> str:
    """Draws control and picture, or says what is missing; returns what the picture shows."""
    if step.needs_tokens and analysis.kept_directions < 2:
        st.info(no_tokens(analysis))
    elif not analysis.examples:
        st.info("This capture kept no texts. Switch to a recorded one.")
    else:
        try:
            return step.draw(analysis, picture)
        except InputError as error:
            st.info(escaped(str(error)))
    return ""
