"""Errors a person can mend: the message is one line that names what is wrong and the mend."""


class FgafError(Exception):
    """Something failed that the person at the keyboard can do something about."""

    exit_code = 1


class SettingError(FgafError):
    """A setting, an option or their combination makes no sense; nothing was started."""

    exit_code = 2


class FormatError(FgafError):
    """A file is not what it should be: another format, newer, truncated or altered."""


class ExistsError(FgafError):
    """The output is there already and may not be overwritten."""
