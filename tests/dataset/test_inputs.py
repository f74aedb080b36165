"""Text, TOML and JSON that people name: refused in one line where they are not what they should."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hostile import Said, require_refused, run

from fgaf.base.errors import FormatError
from fgaf.base.inputs import parse_json, parse_toml, read_text, require_file
from fgaf.dataset.cards.card_metadata import read_card_metadata

DEEP = 200_000


@dataclass(frozen=True)
class Text:
    """A file's bytes, and what the line says."""

    name: str
    data: bytes
    says: str


TOML = [
    Text("deep arrays", b"title = " + b"[" * DEEP + b"]" * DEEP, "nested too deeply"),
    Text("deep tables", b"title = " + b"{a=" * DEEP, "nested too deeply"),
    Text("an endless key", b"a." * DEEP + b"a = 1", "more than 64 parts"),
    Text("an endless table", b"[" + b"a . " * DEEP + b"a]", "more than 64 parts"),
    Text("latin 1", b"title = 'K\xf6ln'\n", "not UTF-8 text (byte 10 is 0xf6)"),
    Text("utf-16", "title = 'x'".encode("utf-16"), "not UTF-8 text (byte 0 is 0xff)"),
    Text("huge", b"# " + b"x" * (1 << 21), "larger than 1 MB"),
    Text("a long number", b"title = " + b"9" * 10_000, "is not valid TOML"),
]
JSON = [
    Text("deep arrays", b"[" * DEEP + b"]" * DEEP, "is not the output"),
    Text("deep objects", b'{"a":' * DEEP, "is not the output"),
    Text("latin 1", b'{"cells": "\xf6"}', "is not the output"),
    Text("huge", b" " * ((64 << 20) + 1), "larger than 64 MB"),
]
COMMANDS = {
    "about": ("fgaf-data", "card", "{good}", "--out", "{out}", "--about"),
    "settings": ("fgaf-train", "{good}", "--out", "{out}", "--settings"),
    "preset": ("fgaf-bench", "{good}", "--out", "{out}", "--preset"),
    "rig": ("acq", "rig", "show"),
    "agreement": ("fgaf-data", "card", "{good}", "--out", "{out}", "--agreement"),
}


@pytest.fixture(scope="module")
def answers(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[tuple[str, str], Said]:
    """What each command says of each file, all in one process of bounded memory."""
    good: Path = request.getfixturevalue("good_archive")
    folder = tmp_path_factory.mktemp("texts")
    names, commands = [], []
    for command, words in COMMANDS.items():
        kind = "json" if command == "agreement" else "toml"
        for text in JSON if kind == "json" else TOML:
            path = folder / f"{text.name}.{kind}"
            path.write_bytes(text.data)
            filled = [word.format(good=good, out=folder / "out") for word in words]
            names.append((command, text.name))
            commands.append([*filled, str(path)])
    return dict(zip(names, run(commands), strict=True))


@pytest.mark.parametrize("text", TOML, ids=lambda text: text.name)
@pytest.mark.parametrize("command", ["about", "settings", "preset", "rig"])
def test_toml_that_is_none_is_refused_everywhere(
    command: str, text: Text, answers: dict[tuple[str, str], Said]
) -> None:
    said = answers[command, text.name]
    require_refused(said, text.says if command != "rig" else "")
    assert said.code == 2


@pytest.mark.parametrize("text", JSON, ids=lambda text: text.name)
def test_json_that_is_none_is_refused(text: Text, answers: dict[tuple[str, str], Said]) -> None:
    require_refused(answers["agreement", text.name], text.says)


def test_a_byte_order_mark_and_windows_line_ends_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "about.toml"
    path.write_bytes(b"\xef\xbb\xbftitle = 'x'\r\nversion = '1'\r\n")
    assert (read_card_metadata(path).title, read_card_metadata(path).version) == ("x", "1")


def test_deep_values_are_an_error_that_callers_know() -> None:
    for parse, text in ((parse_json, "[" * DEEP), (parse_toml, "a = " + "[" * DEEP)):
        with pytest.raises(ValueError, match="nested too deeply"):
            parse(text)
    assert parse_json(json.dumps({"a": [1]})) == {"a": [1]}
    assert parse_toml("a.b.c = 1") == {"a": {"b": {"c": 1}}}


@pytest.mark.skipif(os.name != "posix", reason="pipes and sockets in folders")
def test_what_is_no_file_is_named_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    # The name of a socket has room for a hundred letters only.
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as made:
        made.bind(f"{folder}/socket")
        cases = {
            tmp_path / "pipe": "is a pipe",
            Path(folder) / "socket": "is a socket",
            Path("/dev/zero"): "is a device",
            tmp_path: "is a folder",
            tmp_path / "absent": "does not exist",
            tmp_path / "a\0b": "is not a valid file name",
        }
        for path, says in cases.items():
            for read in (read_text, require_file):
                with pytest.raises(FormatError, match=says):
                    read(path)
