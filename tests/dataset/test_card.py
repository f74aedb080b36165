"""Cards: a person's and a machine's."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import mlcroissant
import numpy as np
import pytest
from click.testing import CliRunner

from fgaf.base.errors import SettingError
from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.cards.card import card
from fgaf.dataset.cards.card_metadata import TEMPLATE, CardMetadata, read_card_metadata
from fgaf.dataset.cards.croissant import croissant
from fgaf.dataset.commands.main import main
from fgaf.dataset.storage.optics import Optics

AGREEMENT = {
    "cells": 20,
    "same_verdict": 0.95,
    "exact": 0.7,
    "within_one": 1.0,
    "mean_um": 0.14,
    "kappa": 0.93,
    "both_kept": 19,
    "bias_um": None,
    "differing": [],
}


@pytest.fixture
def about(tmp_path: Path) -> Path:
    """Return the template with every line filled in as it stands."""
    lines = TEMPLATE.splitlines()
    facts = [line.removeprefix("# ") for line in lines if " = " in line]
    path = tmp_path / "about.toml"
    path.write_text("\n".join(facts), encoding="utf-8")
    return path


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    if code:
        assert len(result.stderr.splitlines()) == 1
    return result.stderr if code else result.stdout


def test_the_card_says_all_that_is_known(good_archive: Path, about: Path, tmp_path: Path) -> None:
    agreement = tmp_path / "agreement.json"
    agreement.write_text(json.dumps(AGREEMENT))
    out = tmp_path / "CARD.md"
    run("card", good_archive, "--out", out, "--about", about, "--agreement", agreement)
    text = out.read_text(encoding="utf-8")
    assert "not stated" not in text
    for expected in (
        "# Sperm through focus in bright field",
        "| Licence | CC-BY-4.0 |",
        "| DOI | https://doi.org/10.5281/zenodo.0000000 |",
        "| Numerical aperture | 0.65 |",
        "| -1 | 0 | 12 |",
        "| donor 0 | 3 | 15 |",
        "| Depth classes | 5, step 0.5 µm |",
        "person: a person marked the plane where the cell is sharpest | 12 | 0.90 |",
        "| Share with the same focus plane | 0.7 |",
        "- One microscope",
        "Consent: Written consent",
        "Approval: Approved by",
    ):
        assert expected in text, expected


def test_what_is_missing_is_called_so_and_limits_show_themselves(archive: Archive) -> None:
    cells = replace(
        archive.cells,
        sample_id=np.full(12, "", dtype=object),
        method=np.array(["focus-curve", "steps"] * 6, dtype=object),
    )
    header = archive.header.model_copy(update={"optics": Optics(), "name": "a | b\nc"})
    text = card(replace(archive, cells=cells, header=header, true_depth_um=None))
    assert "# a | b c\n" in text
    assert "| Licence | *not stated* |" in text
    assert "Consent: *not stated*" in text
    assert "- 12 of 12 labels were not confirmed by a person." in text
    assert "- Samples are unknown, so no split can separate donors." in text
    assert "- Not recorded: Pixel in the specimen" in text


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
def test_croissant_is_valid_and_reads_its_tables(
    good_archive: Path, about: Path, tmp_path: Path
) -> None:
    out = tmp_path / "croissant.json"
    run("card", good_archive, "--croissant", out, "--about", about)
    dataset = mlcroissant.Dataset(jsonld=out)
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert not issues.warnings
    assert dataset.metadata.name == "Sperm through focus in bright field"
    (file,) = dataset.metadata.distribution
    assert file.sha256 == hashlib.sha256(good_archive.read_bytes()).hexdigest()
    rows = [tuple(row.values()) for row in dataset.records("depth_classes")]
    assert rows == [(k, (k - 2) / 2, 12) for k in range(5)]
    assert len(list(dataset.records("samples"))) == 4


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
def test_croissant_without_facts_is_valid_too(archive: Archive, tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.h5", archive)
    with Archive.open(path) as opened:
        read = json.loads(croissant(opened))
    assert not mlcroissant.Dataset(jsonld=read).metadata.ctx.issues.errors
    assert "license" not in read
    with pytest.raises(ValueError, match="no file to describe"):
        croissant(archive)


def test_the_template_is_what_about_reads(about: Path, tmp_path: Path) -> None:
    filled = read_card_metadata(about)
    assert all(getattr(filled, name) for name in CardMetadata.model_fields)
    new = tmp_path / "new.toml"
    new.write_text(TEMPLATE, encoding="utf-8")
    assert read_card_metadata(new) == CardMetadata()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("licence = 'x'", "there is no fact 'licence'; did you mean license?"),
        ("limits = 'one'", "limits: input should be a valid tuple"),
        ("title = 3", "title: input should be a valid string"),
        ("title = ", "is not valid TOML"),
    ],
)
def test_wrong_facts_are_named(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "about.toml"
    path.write_text(text)
    with pytest.raises(SettingError) as caught:
        read_card_metadata(path)
    assert says in str(caught.value)


def test_wrong_calls_are_one_line(good_archive: Path, good_stack: Path, tmp_path: Path) -> None:
    out = tmp_path / "CARD.md"
    assert "is not of format" in run("card", good_stack, "--out", out, code=1)
    absent = tmp_path / "absent"
    assert "does not exist" in run("card", good_archive, "--out", out, "--about", absent, code=2)
    assert "does not exist" in run(
        "card", good_archive, "--out", out, "--agreement", absent, code=2
    )
    absent.write_text("{}")
    said = run("card", good_archive, "--out", out, "--agreement", absent, code=2)
    assert "is not the output of `fgaf-curate agreement SESSION --json`" in said
    assert not out.exists()
    run("card", good_archive, "--out", out)
    assert "exists already" in run("card", good_archive, "--out", out, code=1)
    said = run("card", good_archive, "--new-about", tmp_path / "about.toml")
    assert "next: fgaf-data card" in said


HOSTILE = (
    "<script>alert(1)</script> [a](javascript:b) ![c](http://d) *e* _f_ `g` ~~h~~ i | j &lt; # k "
    "<img src=x onerror=l>"
)


def test_names_in_a_card_are_shown_letter_by_letter(archive: Archive) -> None:
    """Read by a real Markdown reader: no name becomes HTML, a link, a picture or a mark."""
    markdown = pytest.importorskip("markdown_it")
    for column in ("sample_id", "annotator", "method"):
        getattr(archive.cells, column)[:] = HOSTILE
    texts = {"name": HOSTILE, "description": f"# {HOSTILE}\n\n- \x1b[31m", "license": HOSTILE}
    hostile = replace(
        archive,
        header=archive.header.model_copy(update=texts),
        splits={HOSTILE: archive.splits["default"]},
    )
    tokens = (
        markdown.MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(card(hostile))
    )
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in [*tokens, *inline]}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "s_open", "strong_open"}
    shown = ["".join(child.content for child in token.children or ()) for token in tokens]
    assert [text.removesuffix(r" - \x1b[31m").removeprefix("# ") for text in shown].count(
        HOSTILE
    ) == 7
    assert {child.content for child in inline if child.type == "code_inline"} <= {""}
    assert "<" not in card(hostile)


def test_facts_of_a_person_keep_their_markdown_but_no_html(archive: Archive) -> None:
    about = CardMetadata(description="See *this* [page](https://a.b).", uses="<b>x</b>")
    assert "See *this* [page](https://a.b)." in card(archive, about)
    assert "&lt;b>x&lt;/b>" in card(archive, about)


def test_croissant_can_be_put_into_a_web_page(good_archive: Path) -> None:
    about = CardMetadata(description="</script><script>alert(1)</script> & more")
    text = croissant(Archive.read(good_archive), about)
    assert not set("<>&") & set(text)
    assert json.loads(text)["description"] == about.description
