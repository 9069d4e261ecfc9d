from pathlib import Path

import pytest

from experiments import families
from experiments.families import HEADER, PAGE, REFUSED, Trial, attempt, page, refusals, row, table, unlisted
from experiments.timm_families import OTHERS, PLAIN, TINY, Family
from vitol.maps import METHODS

TEXT = (Path(__file__).parents[1] / PAGE).read_text(encoding="utf-8")
AGAIN = "the page is older than the code: run python -m experiments.families"


def lines_below(heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, their headers and rulers left out."""
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return [cells for cells in rows if cells[0] not in ("family", "---")]


def test_the_page_lists_exactly_the_families_of_the_script():
    plain = [cells for cells in lines_below("Vision transformers") if len(cells) == len(HEADER)]
    others = lines_below("Other models that attend")
    for listed, wanted in ((plain, PLAIN), (others, OTHERS)):
        found = list(dict.fromkeys((cells[0], cells[1].strip("`")) for cells in listed))
        assert found == [(family.title, family.model) for family in wanted], AGAIN


def test_every_no_in_the_page_has_its_reason_and_every_other_model_is_refused_by_all_methods():
    texts = lines_below("Vision transformers")
    for cells in (cells for cells in texts if len(cells) == len(HEADER)):
        refused = {
            name for name, answer in zip(METHODS, cells[-len(METHODS) :], strict=True) if answer == "no"
        }
        given = {
            name
            for other in texts
            if len(other) == len(REFUSED) and other[0] == cells[0]
            for name in (METHODS if other[3] == "all" else other[3].split(", "))
        }
        assert refused == given, cells[0]
    for title in {cells[0] for cells in lines_below("Other models that attend")}:
        names = [cells[3] for cells in lines_below("Other models that attend") if cells[0] == title]
        assert names == ["all"] or sorted(", ".join(names).split(", ")) == sorted(METHODS), title


@pytest.mark.parametrize("title", ["DeiT, distilled", "SigLIP", "Swin"])
def test_trying_a_family_again_gives_its_lines_in_the_page(title):
    (family,) = [family for family in PLAIN + OTHERS if family.title == title]
    trial = attempt(family)
    lines = [row(family, trial)] if family in PLAIN else []
    for line in table((), lines + refusals(family, trial)).splitlines()[2:]:
        assert line in TEXT.splitlines(), AGAIN


def test_no_module_of_timm_that_attends_is_left_out(monkeypatch):
    assert unlisted() == []
    monkeypatch.setattr(families, "OTHERS", tuple(f for f in OTHERS if f.title not in ("PiT", "CaiT")))
    assert unlisted() == ["timm.models.cait", "timm.models.pit"]


def test_a_map_that_breaks_a_law_stops_the_script(monkeypatch):
    monkeypatch.setattr(families, "keeps", lambda *_: (True, False, True, True, False, True))
    with pytest.raises(
        ArithmeticError, match=r"deit_tiny\S+, ar: .* are finite and not negative and that the maps"
    ):
        attempt(Family("DeiT", "deit_tiny_patch16_224", TINY))


def test_a_page_that_would_call_a_working_model_refused_is_not_written(tmp_path, monkeypatch):
    works = Trial(("Kind", "32x48", "1", "token"), dict.fromkeys(METHODS, ""))
    fails = Trial(("Kind", "32x48", "0", ""), dict.fromkeys(METHODS, "a | b"))
    one, other = Family("One", "one"), Family("Other", "other")
    with pytest.raises(
        ValueError, match="Other gives maps; move it to the list of plain vision transformers"
    ):
        page([(one, works)], [(other, works)])
    text = page([(one, works)], [(other, fails)])
    assert "Of 1 families of plain vision transformers, 1 give maps by all" in text
    assert r"| Other | `other` | Kind | all | a \| b |" in text

    monkeypatch.setattr(families, "PLAIN", (one,))
    monkeypatch.setattr(families, "OTHERS", (other,))
    monkeypatch.setattr(families, "unlisted", list)
    monkeypatch.setattr(families, "attempt", lambda family: works)
    with pytest.raises(ValueError, match="Other gives maps"):
        families.main(["--out", str(tmp_path / "page.md")])
    monkeypatch.setattr(families, "attempt", lambda family: works if family == one else fails)
    families.main(["--out", str(tmp_path / "docs" / "page.md")])
    assert [path.name for path in tmp_path.rglob("*")] == ["docs", "page.md"]
    assert (tmp_path / "docs" / "page.md").read_text(encoding="utf-8") == text


def test_a_module_of_timm_that_is_in_no_list_is_an_error_of_the_script(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(families, "unlisted", lambda: ["timm.models.new"])
    with pytest.raises(SystemExit):
        families.main(["--out", str(tmp_path / "page.md")])
    assert "timm.models.new attend, but no model of theirs is in" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
