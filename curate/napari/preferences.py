"""The settings of this plugin in napari's preferences."""

from __future__ import annotations

from dataclasses import dataclass, field

from fgaf.base.folder_lock import user_name
from fgaf.curate.napari.shortcuts import SHORTCUTS
from fgaf.curate.session.queue import Order


@dataclass(frozen=True)
class Preferences:
    """As in the plugin's manifest; `keys` holds keys that differ from the default."""

    annotator: str = ""
    order: Order = "position"
    advance: bool = True
    keys: dict[str, str] = field(default_factory=dict)

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
    return Preferences(curation.annotator, curation.order, curation.advance, changed)
