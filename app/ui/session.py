"""Every session-state and URL key in one place, and what a session has in hand.

Keys under "in the URL" are widget keys bound to query parameters of the same name. A prompt, a path or a model's
name is never one of them: opening a link must not send, load or reveal anything.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import streamlit as st

from app.jobs.captures import load_saved
from app.jobs.job import Job
from app.jobs.models import ModelKey
from spd_core.errors import InputError
from spd_core.models.identity import pinned
from spd_core.storage import ROOT, child, remove_folder
from spd_core.subspace.store import captures_folder, recorded_captures, saved_captures

if TYPE_CHECKING:
    from spd_core.subspace.analysis import Analysis

Number = TypeVar("Number", int, float)

_PAGES = ROOT / "pages"
HOME, SPECTRUM = _PAGES / "home.py", _PAGES / "spectrum.py"
ATTRIBUTIONS, SIDE_BY_SIDE = _PAGES / "attributions.py", _PAGES / "side_by_side.py"
FINE_TUNE, EVALUATION = _PAGES / "fine_tune.py", _PAGES / "evaluation.py"
LIBRARY = _PAGES / "library.py"
LESSON = _PAGES / "how_it_works.py"

# In the URL of every page, written by the shell: what is in hand, and the selection
CAPTURE, LAYER, KIND, DIRECTION, EXAMPLE, TOKEN = "capture", "layer", "kind", "direction", "text", "token"
RANK = "rank"
SELECTION = (LAYER, KIND, DIRECTION, EXAMPLE, TOKEN, RANK)

# In the URL: Home
CAPABILITY, LOSS, STYLE = "capability", "loss", "style"
EXAMPLES, LAYERS, BATCH, CENTRE = "examples", "layers", "batch", "centre"
# In the URL: Spectrum
MAP = "map"
# In the URL: Spectrum, Side by side
OVERLAYS, SHARED, SHAPE, COLOUR = "beside", "same_scales", "shapes", "colour"
OVERLAP, OVERLAP_WITH, SPECTRUM_VIEW = "overlap", "overlap_with", "shown"
CONTRAST_VIEW = "contrast_shown"
STRENGTH, CHOICE, TEMPERATURE, TOP_P, NEW_TOKENS, SEED = "alpha", "choice", "temperature", "top_p", "new_tokens", "seed"
# In the URL: Side by side (which cell of a sweep is read is written by the page, and no widget)
WRITTEN, MODE, MORE_LANES, MORE_RANKS, MORE_STRENGTHS = "written", "mode", "also", "ranks", "strengths"
PROMPT_STYLE, PROMPT_FROM, SAME_NOISE, PROJECTS, SHOW = "prompt_style", "prompt_from", "same_noise", "projects", "show"
DISTILLED = "distilled"
SWEEP_RANKS, SWEEP_STRENGTHS, MEASURE = "sweep_ranks", "sweep_strengths", "measure"
# In the URL: Token attributions
ATTRIBUTION_VIEW, ASIDE, SUMS = "view", "aside", "sums"
# In the URL: Geometry on Token attributions (the strength is written by the page, and no widget)
POINTS, POINT_COLOUR, UP, THIRD, MOVED = "points", "coloured", "up", "third", "moved"

# In the URL: Fine-tune
RUN, RUNS_VIEW, RUN_PART, LOSS_AXIS = "run", "runs_view", "part", "loss_axis"
# In the URL, written by Fine-tune and no widget: which audit is read, and whether it is the recorded one
AUDIT_OF, AUDIT_STEP, AUDIT_PROMPT, AUDIT_CHUNK = "audit_of", "audit_step", "audit_prompt", "audit_chunk"
AUDIT = (AUDIT_OF, AUDIT_STEP, AUDIT_PROMPT, AUDIT_CHUNK)
RECORDED_AUDIT = "recorded_audit"
# In the URL: Evaluation
EVALUATION_RUN, EVALUATIONS_VIEW = "evaluation", "evaluations_view"
STUDY_OPEN = "open_of_study"

# In the URL, written by How it works: its step, and whether it is presented
LESSON_STEP, PRESENTED = "step", "present"
# In the URL: How it works
LESSON_TOKEN, LESSON_ASIDE, LESSON_ANGLE = "lesson_token", "lesson_aside", "lesson_angle"
LESSON_STRENGTH, LESSON_PROMPT, LESSON_SET = "lesson_strength", "lesson_prompt", "lesson_set"
# In the URL: Library
LIBRARY_VIEW, LIBRARY_RECORDED = "library_view", "with_recorded"

# In the URL: results of an evaluation, and the seed of Side by side's random lane
RESULTS_PART, RANDOM_SEED = "results", "random_seed"
# In the URL, written by Side by side and no widget: the gains of its mixed lane, and whether its control stands by it
MIX, MIX_CONTROL = "mix", "mix_control"
# In the URL, written by the page and no widget: which item of an evaluation is read, among which
ITEM_SUBJECT, ITEM_SET, ITEM_SEED, ITEM_FILTER, ITEM = "subject", "set", "item_seed", "items", "item"

# For the session only
MODEL_SOURCE, MODEL_NAME, REVISION, DTYPE = "model_source", "model_name", "revision", "dtype"
CAPABILITY_PATH, CAPABILITY_UPLOAD, PREVIEW = "capability_path", "capability_upload", "preview"
LAYERS_SHOWN, PRESET, PROMPT, RANK_SLIDER = "layers_shown", "preset", "prompt", "rank_slider"
OTHER_CAPTURES, LANE_LAYERS, HISTORY, OTHER_RESULT = "other_captures", "lane_layers", "history", "other_result"
PLACE, CELL, UNSAVED_TEXTS, CURVES, BESIDE = "place", "cell", "unsaved_texts", "curves_open", "beside_open"
HISTORY_OPEN, LOST_MODELS = "history_open", "lost_models"
FOLLOWED, FILLED, SETTINGS_OPEN = "followed", "filled", "settings_open"
DESK, DESK_OPEN, DESK_SITE, DESK_LAYER, DESK_KIND = "desk", "desk_open", "desk_site", "desk_layer", "desk_kind"
MIX_READ, MIX_TROUBLE, MIX_CONTROL_SHOWN = "mix_read", "mix_trouble", "mix_control_shown"
MODEL_PACKAGED, TERMS_TROUBLE = "model_packaged", "terms_trouble"
MODEL_RECENT, CAPTURE_PRESET, IMPORT, LEAVE_OUT = "model_recent", "capture_preset", "import", "leave_out"
EXAMPLES_VIEW, EXAMPLES_SPLIT, EXAMPLES_TABLE = "examples_view", "examples_split", "examples_table"
DRAFT, SAVE_NAME, SAVE_REPLACE, SAVE_NEWS = "draft", "save_name", "save_replace", "save_news"
NULLS_DRAWN, EFFECTS_JOB, EFFECTS = "nulls_drawn", "effects_job", "effects"
CAPTURE_JOB, NULLS_JOB, WRITE_JOB = "capture_job", "nulls_job", "write_job"
CONTRAST_JOB = "contrast_job"
REPEAT_JOB, REPEAT_PROMPTS, REPEAT_SEEDS, REPEAT_OPEN = "repeat_job", "repeat_prompts", "repeat_seeds", "repeat_open"
REPEAT_CELL, REPEAT_CELL_SHOWN = "repeat_cell", "repeat_cell_shown"
_TAKEN, _UNSAVED = "taken", "unsaved"
TEXT_SOURCE, OWN_TEXT, OWN_TOKEN, SCORED = "text_source", "own_text", "own_token", "scored"
TOKEN_TABLE, TOKEN_TABLE_OPEN = "token_table", "token_table_open"
PICK_RANK, POINTS_TABLE_OPEN, POINT_CLOUD = "pick_rank", "points_table_open", "point_cloud"
RECIPE_BASE, RECIPE_FORM, RECIPE_OPEN, RECIPE_FILE = "recipe_base", "recipe_form", "recipe_open", "recipe_file"
EVALUATION_BASE, EVALUATION_FORM, EVALUATION_OPEN = "evaluation_base", "evaluation_form", "evaluation_open"
EVALUATION_FILE, EVALUATION_TITLE = "evaluation_file", "evaluation_title"
RUNS_COMPARED, RUNS_AXIS, LOSSES_TABLE_OPEN = "runs_compared", "runs_axis", "losses_table"
EVALUATION_MORE, EVALUATION_PROPOSED, WITHOUT_CONTROLS = "evaluation_more", "evaluation_proposed", "without_controls"
ITEM_SEARCH, ITEM_TABLE, ANSWERS_SET, SCORED_TEXT = "item_search", "item_table", "answers_set", "scored_text"
NEXT_STEP, COMPARED_WITH, EVALUATIONS_COMPARED = "next_step", "compared_with", "evaluations_compared"
LAUNCHER, RUN_TITLE, RUN_TROUBLE, RUN_NOTES = "launcher", "run_title", "run_trouble", "run_notes"
CORPUS_SHOWN, CORPUS_TABLE, EXPORT_ARM, EXPORT_JOB = "corpus_shown", "corpus_table", "export_arm", "export_job"
CORPUS_FILTER, CORPUS_PROMPT, CORPUS_EDITED = "corpus_filter", "corpus_prompt", "corpus_edited"
CORPUS_TIMES, CORPUS_QUESTION, CORPUS_TROUBLE = "corpus_times", "corpus_question", "corpus_trouble"
CORPUS_NO, CORPUS_YES, GO_ON = "corpus_no", "corpus_yes", "go_on"
MARKS_JOB, SCHEDULE_OPEN, RUN_SEEN = "marks_job", "schedule_open", "run_seen"
AUDIT_TABLES_OPEN, AUDIT_WIDGETS = "audit_tables_open", "audit_widget"
LIBRARY_SEARCH, LIBRARY_KINDS, LIBRARY_MODEL, LIBRARY_NEWS = (
    "library_search",
    "library_kinds",
    "library_model",
    "library_news",
)
BUNDLE_UPLOAD, BUNDLE_PATH, BUNDLE_FOUND = "bundle_upload", "bundle_path", "bundle_found"
REPLAY_JOB, FOLDED_RANK = "replay_job", "folded_rank"
READ_JOB, LENS_JOB, CHECK_JOB, RIGHT_JOB = "read_job", "lens_job", "check_job", "right_job"
JOBS = (
    CAPTURE_JOB,
    NULLS_JOB,
    CONTRAST_JOB,
    EFFECTS_JOB,
    WRITE_JOB,
    REPEAT_JOB,
    READ_JOB,
    LENS_JOB,
    CHECK_JOB,
    RIGHT_JOB,
    EXPORT_JOB,
    MARKS_JOB,
    REPLAY_JOB,
)
PICK_LAYER, PICK_KIND, PICK_DIRECTION, PICK_EXAMPLE = "pick_layer", "pick_kind", "pick_direction", "pick_example"
PLACE_SHOWN, CELL_SHOWN, TEXT_TROUBLE, LINK_READ = "place_shown", "cell_shown", "text_trouble", "link_read"
TAKEN_OVER, CONTRAST_WITH, CONTRAST_MAP = "taken_over", "contrast_with", "contrast_map"
NOTES_OPEN, NOTE_SEARCH, NOTE_NEWS, NEWS = "notes_open", "note_search", "note_news", "news"
WANTED = "wanted"

LESSON_TEXT, LESSON_STEPPER, LESSON_CLOUD = "lesson_text", "lesson_stepper", "lesson_cloud"

# Parts of pages that other pages lead to
TURN_TO, GO_TO, COMPARE_NEXT, TAGS_CHANGED = "turn_to", "go_to", "compare_next", "tags_changed"
IMPORT_BUNDLE = "Import a bundle"
THIS_RUN, THIS_EVALUATION, ENERGY_SHARES = "This run", "This evaluation", "Energy shares"

# What keys begin with where there are several: of a form's or a list's widgets, of a run that is watched, …
RECIPE_WIDGETS, EVALUATION_WIDGETS = "recipe", "evaluation_widget"
RUNS_LIST, EVALUATIONS_LIST = "runs", "evaluations"
WATCHED_RUN, BESIDE_LANE, ASKED_TO_DELETE, RESULT = "watched", "beside_lane", "asked", "result"
AT_WORK, STEP_KEYS, STEPS_TAKEN, STEPPED = "open_at_work", "step_keys", "steps_taken", "stepped"
FADER, PRESET_OF = "fader", "preset_of"
NOTE_NAME, NOTE_REMARK, NOTE_HIT = "note_name", "note_remark", "note_hit"
LIBRARY_LIST, LABEL = "library_list", "label"
EXTREMES, OWN_EXTREMES, KEPT_ROW = "ends", "own_ends", "keep"


# --- what is in hand -----------------------------------------------------------------------------------------


def analysis_names() -> list[str]:
    """Names that `open_analysis` knows: this machine's own, the newest first, then the recorded ones."""
    return list(dict.fromkeys((*_unsaved(), *saved_captures(), *recorded_captures())))


def open_analysis(name: str) -> "Analysis":
    """The analysis of a name.

    Raises:
        InputError: no such name, or its files are damaged.
    """
    return _unsaved()[name] if name in _unsaved() else load_saved(name)


def _unsaved() -> "dict[str, Analysis]":
    """Analyses that the disk refused."""
    return cast("dict[str, Analysis]", st.session_state.setdefault(_UNSAVED, {}))


def delete_capture(name: str) -> None:
    """Delete the analysis of this name, saved or not.

    Raises:
        SpdError: it is not there (any more), or the disk refuses.
    """
    unsaved = _unsaved().pop(name, None)
    if unsaved is None or name in saved_captures():
        remove_folder(child(captures_folder(), name))


def take_in_hand(name: str, *, keep_rank: bool = False) -> None:
    """Have the analysis of this name in hand from now on.

    A rank means nothing on another spectrum; what a contrast and the capture that it was made of hold is compared at
    one rank (`keep_rank`).
    """
    st.session_state[CAPTURE] = name
    st.session_state.pop(WANTED, None)
    for key in (RANK_SLIDER,) if keep_rank else (RANK, RANK_SLIDER):
        st.session_state.pop(key, None)


@dataclass(frozen=True)
class Wanted:
    """What was asked for and cannot be opened: until it can, or something else is chosen, a recorded one is shown.

    Attributes:
        name: of the capture.
        reason: why it cannot be opened.
        selection: what was asked for with it; it means nothing on another capture.
    """

    name: str
    reason: str
    selection: Mapping[str, Any]


def wanted() -> Wanted | None:
    """The capture that is waited for, if any."""
    return cast("Wanted | None", st.session_state.get(WANTED))


def in_hand() -> "Analysis | None":
    """The analysis in hand: the last capture, or what a link or the user chose, else a recorded one.

    One that cannot be opened is `wanted` from then on; it is opened as soon as it is here.

    Raises:
        InputError: the recorded one is damaged.
    """
    _take_results()
    state, waiting = st.session_state, wanted()
    name = state.get(CAPTURE) or (waiting and waiting.name)
    if name:
        try:
            found = open_analysis(name)
        except InputError as error:
            if CAPTURE in state:
                state[WANTED] = Wanted(name, str(error), {key: state.pop(key) for key in SELECTION if key in state})
                del state[CAPTURE]
        else:
            if CAPTURE not in state and waiting:
                state.update({**waiting.selection, CAPTURE: name})
                del state[WANTED]
            return found
    recorded = recorded_captures()
    return load_saved(recorded[0]) if recorded else None


def _take_results() -> None:
    """Take up what a job has finished since the last look."""
    for key in (CAPTURE_JOB, NULLS_JOB, CONTRAST_JOB):
        with new_result(key) as result:
            if result is None:
                continue
            _unsaved().pop(result.name, None)  # the disk may have taken what it refused before
            if st.session_state[key].notice:
                _unsaved()[result.name] = result
            if key == CAPTURE_JOB:
                take_in_hand(result.name)
            if key == CONTRAST_JOB:
                take_in_hand(result.name, keep_rank=True)


def model_key(analysis: "Analysis") -> ModelKey:
    """The model that an analysis was captured on, in the same dtype."""
    record = analysis.provenance
    revision = pinned(record.model, record.revision)
    return ModelKey(record.model, revision, record.dtype)


# --- the selection -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Selection:
    """One site, direction, text and token, the same on all pages.

    Attributes:
        direction: 0-based.
        example: index into the analysis' examples.
        token: position in the example.
    """

    layer: int
    kind: str
    direction: int = 0
    example: int = 0
    token: int = 0


def selection(analysis: "Analysis") -> Selection:
    """The selection, inside what the analysis has; the last layer's values until another is chosen."""
    state = st.session_state
    layer: int = state[LAYER] if state.get(LAYER) in analysis.layers else analysis.layers[-1]
    kind: str = state[KIND] if state.get(KIND) in ("key", "value") else "value"
    lengths = [len(example.ids) for example in analysis.examples] or [1]  # captures of older versions may have none
    example = clamped(state.get(EXAMPLE), 0, len(lengths) - 1)
    token = clamped(state.get(TOKEN), 0, lengths[example] - 1)
    return Selection(layer, kind, clamped(state.get(DIRECTION), 0, analysis.known_directions - 1), example, token)


def select(**changes: Any) -> None:
    """Change the selection on all pages: `layer`, `kind`, `direction`, `example`, `token`."""
    unknown = set(changes) - {field.name for field in dataclasses.fields(Selection)}
    if unknown:
        raise TypeError(f"no part of a selection: {sorted(unknown)}")
    names = {"example": EXAMPLE}
    st.session_state.update({names.get(name, name): value for name, value in changes.items()})


def choose_rank(rank: int) -> None:
    """Remember the rank for all pages."""
    st.session_state[RANK] = rank


def chosen_rank(d_kv: int) -> int:
    """The rank in force; d_kv // 2 (the paper's) until another is chosen."""
    return clamped(st.session_state.get(RANK, d_kv // 2), 1, d_kv)


def clamped(value: Any, low: Number, high: Number) -> Number:
    """A widget's value inside its range: limits are kept by the browser, and a link can say anything."""
    return min(max(type(low)(value if value is not None else low), low), high)


# --- jobs ----------------------------------------------------------------------------------------------------


def job(key: str) -> "Job[Any, Any] | None":
    """The job that this session started last under a key: `CAPTURE_JOB`, `NULLS_JOB`, …"""
    return cast("Job[Any, Any] | None", st.session_state.get(key))


def running_jobs() -> "dict[str, Job[Any, Any]]":
    """All jobs of this session that run now, by their key."""
    return {key: found for key in JOBS if (found := job(key)) is not None and found.running}


@contextmanager
def new_result(key: str) -> Iterator[Any]:
    """The result of the job under a key unless it was taken up before, then None.

    It counts as taken up when the block is through: a run can be broken off at any touch of the session's state, and
    the next one takes up what that one has not.
    """
    found, mark = job(key), f"{_TAKEN}_{key}"
    result = None if found is None or st.session_state.get(mark) is found.result else found.result
    yield result
    if result is not None:
        st.session_state[mark] = result


def say_next(text: str) -> None:
    """Say something for a moment in the next run: what is said right before `st.rerun` may never reach the browser."""
    st.session_state[NEWS] = text


# --- parts of pages --------------------------------------------------------------------------------------------


def turn_to(part_key: str, part: str) -> None:
    """Have a page show another part of it.

    A fragment cannot set the value of a widget outside of it: the browser still sends the old one. So it is noted, and
    taken over by `take_turn` before the widget is drawn.
    """
    st.session_state.setdefault(TURN_TO, {})[part_key] = part


def take_turn(part_key: str) -> None:
    """Do what `turn_to` has noted, if anything."""
    part = st.session_state.get(TURN_TO, {}).pop(part_key, None)
    if part is not None:
        st.session_state[part_key] = part
