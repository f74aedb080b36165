"""Errors that a user can fix: the message is one line that says what is wrong and how to fix it."""


class FgafError(Exception):
    """A failure that the user can fix."""

    exit_code = 1


class SettingError(FgafError):
    """A setting, an option or a combination of them makes no sense; nothing was started."""

    exit_code = 2


class FormatError(FgafError):
    """A file has another format, is newer, truncated or altered."""


class ExistsError(FgafError):
    """The output exists already and may not be overwritten."""
