"""Choosing among the packaged models: licence and origin of each, how to install it, and terms to be accepted once."""

import streamlit as st

from app.ui import session
from app.ui.widgets import caption, failure
from spd_core.errors import SpdError
from spd_core.models.packaged import PACKAGED, SMOLLM2, PackagedModel
from spd_core.models.terms import accept_terms, are_accepted, is_installed, terms_of
from spd_core.templates import render


def pick_packaged() -> str | None:
    """The chosen packaged model; None while it is not installed, or its terms have not been accepted."""
    chosen = st.segmented_control(
        "Built-in model",
        PACKAGED,
        default=next(iter(PACKAGED)),
        required=True,
        format_func=lambda key: PACKAGED[key].title,
        key=session.MODEL_PACKAGED,
        persist_state="session",
        label_visibility="collapsed",
    )
    model = PACKAGED.get(chosen or "", next(iter(PACKAGED.values())))
    origin_line(model)
    if not is_installed(model):
        how = "`make gemma`, or " if model.key == "gemma" else ""
        st.info(f"**{model.title}** is not installed. Type {how}`{model.install}`, then reload this page.")
        return None
    return model.key if _allowed(model) else None


def only_built_in() -> str:
    """Name and origin of the one model of a class; its key."""
    caption(f"The built-in model: **{SMOLLM2.title}**")
    origin_line(SMOLLM2)
    return SMOLLM2.key


def origin_line(model: PackagedModel) -> None:
    """Who made a model, its licence and where it comes from, in one line."""
    licence = f"[{model.licence_name}]({model.terms_at})" if model.terms_at else model.licence_name
    caption(
        f"By {model.maker}, licence: {licence}, [model card]({model.origin}). Its weights were packed as "
        f"{model.packed} and are unpacked to float32."
    )


def _allowed(model: PackagedModel) -> bool:
    """Whether a model may be used; if not, its terms to be read, and a button that accepts them."""
    try:
        if are_accepted(model):
            return True
        text = terms_of(model)
    except SpdError as error:
        failure("This model cannot be used:", str(error))
        return False
    st.markdown(f"**Before its first use, read the {model.terms_name} and accept them.** You are asked once.")
    st.html(render("terms.html", label=model.terms_name, paragraphs=text.split("\n\n")))
    pressed = st.button(f"I accept the {model.terms_name}", type="primary", on_click=_accept, args=(model,))
    if pressed and session.TERMS_TROUBLE in st.session_state:
        failure("It could not be kept:", st.session_state.pop(session.TERMS_TROUBLE))
    return False


def _accept(model: PackagedModel) -> None:
    try:
        accept_terms(model)
    except SpdError as error:
        st.session_state[session.TERMS_TROUBLE] = str(error)
