"""The doors from a run to the page Evaluation: its form filled, where nothing starts alone, or one that is there."""

import streamlit as st

from app.ui import session
from spd_core.recipes.evaluation import EvaluationRecipe


def open_evaluation(recipe: EvaluationRecipe, without: str = "") -> None:
    """Turn to the page Evaluation with its form filled, to be looked at, changed and started there.

    Args:
        without: why controls are not part of it; empty where all are.
    """
    st.session_state[session.WITHOUT_CONTROLS] = without
    st.session_state[session.EVALUATION_PROPOSED] = recipe.model_dump(mode="json")
    st.switch_page(session.EVALUATION, query_params={})  # or Streamlit refuses to leave what its address is bound to


def show_evaluation(name: str) -> None:
    """Turn to the page Evaluation with one open that is there already."""
    st.session_state[session.EVALUATION_RUN] = name
    session.turn_to(session.EVALUATIONS_VIEW, session.THIS_EVALUATION)
    st.switch_page(session.EVALUATION, query_params={})
