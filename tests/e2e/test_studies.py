"""The recorded study in a browser: what it shows on top, and a click from there down to the items of an evaluation."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from spd_core.studies.findings import findings
from spd_core.studies.shelf import known_studies
from tests.e2e.steps import accessible, grid_is_drawn, main, settled

STUDIES = [one for one in known_studies() if one.runs]


@pytest.mark.parametrize("known", STUDIES, ids=[one.study.name for one in STUDIES])
def test_a_recorded_study_is_read_and_followed_down_to_its_items(open_app: Callable[..., Page], known: object) -> None:
    page = open_app("/evaluation?evaluations_view=Studies")
    expect(main(page).get_by_role("status").first).to_contain_text("Holm's correction is over all")
    settled(page)
    one = next(study for study in STUDIES if study == known)
    expect(main(page).get_by_role("button", name="Open", exact=True)).to_have_count(len(one.study.parts))
    accessible(page, "Evaluation, studies")
    main(page).get_by_text("All announced comparisons as a table").click()
    table = main(page).get_by_role("region", name="Announced comparisons")
    expect(table.get_by_role("row")).to_have_count(len(findings(one.study, {})) + 1)
    first = next(at for at, part in enumerate(one.study.parts) if part.name in one.runs)
    main(page).get_by_role("button", name="Open", exact=True).nth(first).click()
    expect(page).to_have_url(re.compile("evaluation=" + one.runs[one.study.parts[first].name].id))
    settled(page)
    main(page).get_by_role("radio", name="Items", exact=True).click()
    settled(page)
    grid_is_drawn(page)
