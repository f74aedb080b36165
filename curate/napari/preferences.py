"""What a person has set in napari's preferences for this plugin."""

from __future__ import annotations

from dataclasses import dataclass, field

from fgaf.base.folder_lock import user_name
from fgaf.curate.napari.shortcuts import SHORTCUTS
from fgaf.curate.session.queue import Order


@dataclass(frozen=True)
class Preferences:
    """As in the plugin's manifest; `keys` holds those that are not the default."""

    annotator: str = ""
    order: Order = "position"
    advance: bool = True
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The annotator, or the name of who is logged in."""
        return self.annotator.strip() or user_name()


def read_preferences() -> Preferences:
    """Read them from napari; the defaults where napari does not know the plugin."""
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
