"""A table of arms × sets for a paper. Knows nothing of how the numbers came about."""

from spd_core.evaluation.report import grid, notes
from spd_core.evaluation.table import Table


def to_latex(table: Table) -> str:
    """The table for a paper (booktabs), its notes as the caption."""
    import pandas as pd

    styled = pd.DataFrame(grid(table)).set_index("Arm")
    text: str = styled.to_latex(escape=True, caption=_latex(" ".join(notes(table))))
    for sign, spelled in (
        ("▲", r"$\blacktriangle$"),
        ("▼", r"$\blacktriangledown$"),
        ("·", r"$\cdot$"),
        ("−", "$-$"),
        ("–", "--"),
    ):
        text = text.replace(sign, spelled)
    return text


def _latex(text: str) -> str:
    """Text whose signs LaTeX takes as they are; pandas does so for cells alone."""
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    }
    return "".join(special.get(sign, sign) for sign in text)
