"""The settings of this plugin in napari's preferences."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from fgaf.base.folder_lock import user_name
from fgaf.curate.napari.shortcuts import SHORTCUTS
from fgaf.curate.session.queue import Order


@dataclass(frozen=True)
class Preferences:
    """As in the plugin's manifest; `keys` holds keys that differ from the default.

    `panel_percent` is the panel's share of the window's width.
    """

    annotator: str = ""
    order: Order = "position"
    advance: bool = True
    keys: dict[str, str] = field(default_factory=dict)
    panel_percent: int = 40

    @property
    def name(self) -> str:
        """The annotator, or the name of the logged-in user."""
        return self.annotator.strip() or user_name()


def read_preferences() -> Preferences:
    """Read them from napari; defaults if the plugin is not registered in napari."""
    from napari.settings import get_plugin_settings

    try:
        settings = get_plugin_settings("fgaf")
    except KeyError:
        return Preferences()
    curation, keys = settings.curation, settings.keys
    changed = {
        shortcut.action: str(getattr(keys, shortcut.action))
        for shortcut in SHORTCUTS
        if getattr(keys, shortcut.action) != ", ".join(shortcut.keys)
    }
    return Preferences(
        curation.annotator, curation.order, curation.advance, changed, curation.panel_percent
    )


def remember_panel(share: float) -> None:
    """Store the panel's share of the window's width, if the plugin is registered in napari.

    Parameters
    ----------
    share
        From 0 to 1.
    """
    from napari.settings import get_plugin_settings

    with suppress(KeyError):
        get_plugin_settings("fgaf").curation.panel_percent = round(100 * share)
