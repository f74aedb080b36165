"""The command `fgaf-aspirate`: what it makes of its options, before a rig is opened."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from fgaf.base.errors import SettingError
from fgaf.model.aspirate.settings import AspirationSettings
from fgaf.model.commands.aspirate import _procedure, aspirate


def test_the_name_paper_stands_for_the_paper_s_values_and_others_may_be_added() -> None:
    paper = AspirationSettings(flow_nl_s=1.2, heading_deg=180, retain="constant", bore_um=5)
    assert _procedure(("paper",)) == paper
    assert _procedure(("paper", "bore_um=7")).bore_um == 7
    assert _procedure(("bore_um=7", "paper")) == _procedure(("paper", "bore_um=7"))
    assert _procedure(()) == AspirationSettings() != paper


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("papers", "give KEY=VALUE, or paper"),
        ("flow=2", "no setting 'flow'; did you mean flow_nl_s"),
        ("search=true", "no setting 'search'"),
        ("flow_nl_s=-1", "out of bounds"),
    ],
)
def test_what_is_no_setting_is_refused(value: str, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        _procedure((value,))
    words = ["sim-aspiration", "--depth", "sim", "--procedure", value]
    done = CliRunner().invoke(aspirate, words)
    assert done.exit_code == 2
    assert says in done.output
