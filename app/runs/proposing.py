"""The one door from a run to the evaluation of what it has trained: the form there is filled, and nothing starts."""

import streamlit as st

from app.ui import session
from spd_core.recipes.evaluation import EvaluationRecipe


def open_evaluation(recipe: EvaluationRecipe) -> None:
    """Turn to the page Evaluation with its form filled, to be looked at, changed and started there."""
    st.session_state[session.EVALUATION_PROPOSED] = recipe.model_dump(mode="json")
    st.switch_page(session.EVALUATION, query_params={})  # or Streamlit refuses to leave what its address is bound to
