"""Facts for a dataset's card that the archive does not hold: authors, purpose, licence."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from fgaf.base.errors import SettingError
from fgaf.base.inputs import read_toml
from fgaf.base.names import nearest

TEMPLATE: Final = """\
# Facts for the dataset's card that the archive does not hold. Leave out what does not apply:
# the card calls it "not stated".

# title = "Sperm through focus in bright field"
# description = "Focus stacks of freely swimming human sperm, one patch per cell and plane."
# version = "1.0.0"
# published = 2026-01-31
# creators = ["A. Author", "B. Author"]
# contact = "lab@example.org"
# url = "https://example.org/dataset"
# doi = "10.5281/zenodo.0000000"
# citation = "A. Author and B. Author, Sperm through focus, 2026."
# license = "CC-BY-4.0"
# keywords = ["microscopy", "depth"]

# How the images were taken, and how the labels were made, if the archive does not say so.
# collected = "Fresh samples, swim-up, 37 °C, 20 µm chambers."
# labelled = "Two persons, independently; a third decided differences over one plane."
# uses = "Depth estimation from one image. Not for diagnosis."
# limits = ["One microscope", "Normozoospermic donors only"]

# Approval of the ethics committee, and what the donors agreed to.
# ethics = "Approved by the committee of ..., number ..."
# consent = "Written consent to open publication of images without identity."
"""


class CardMetadata(BaseModel):
    """Facts for a dataset's card; empty if not stated. `TEMPLATE` has an example of each."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    title: str = ""
    description: str = ""
    version: str = ""
    published: date | None = None
    creators: tuple[str, ...] = ()
    contact: str = ""
    url: str = ""
    doi: str = ""
    citation: str = ""
    license: str = ""
    keywords: tuple[str, ...] = ()
    collected: str = ""
    labelled: str = ""
    uses: str = ""
    limits: tuple[str, ...] = ()
    ethics: str = ""
    consent: str = ""

    @property
    def doi_url(self) -> str:
        """The DOI as a URL; empty if there is none."""
        plain = self.doi.removeprefix("https://doi.org/").removeprefix("doi:")
        return f"https://doi.org/{plain}" if plain else ""


def read_card_metadata(path: Path) -> CardMetadata:
    """Read a TOML file of facts.

    Raises
    ------
    SettingError
        The file does not exist, is not TOML, or has an unknown key or a value of the wrong type;
        the message names it.
    """
    values = read_toml(path)
    unknown = sorted(values.keys() - CardMetadata.model_fields.keys())
    if unknown:
        hint = nearest(unknown[0], CardMetadata.model_fields)
        raise SettingError(f"{path}: there is no fact {unknown[0]!r}; {hint}")
    try:
        return CardMetadata.model_validate(
            {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingError(f"{path}: {where}: {first['msg'].lower()}") from error
