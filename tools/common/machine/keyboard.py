"""A PC's keyboard, of the US layout: which keys make a character.

    from common.machine import keyboard
    keyboard.keys("?")          # ["shift", "slash"], as QEMU calls them
    keyboard.types("été")       # False: there is no key for é
"""

from __future__ import annotations

import string

from common.errors import UserError

NAMES = {" ": "spc", "-": "minus", "=": "equal", "[": "bracket_left", "]": "bracket_right", ";": "semicolon",
         "'": "apostrophe", "`": "grave_accent", "\\": "backslash", ",": "comma", ".": "dot", "/": "slash",
         "\r": "ret", "\b": "backspace", "\t": "tab", "\x1b": "esc",
         **{character: character for character in string.ascii_lowercase + string.digits}}
# With shift: what is on the same key below.
SHIFTED = dict(zip('~!@#$%^&*()_+{}|:"<>?' + string.ascii_uppercase, "`1234567890-=[]\\;',./" + string.ascii_lowercase))


def keys(character: str) -> list[str]:
    """The keys that are pressed together for it."""
    if character in SHIFTED:
        return ["shift", NAMES[SHIFTED[character]]]
    if character not in NAMES:
        raise UserError(f"keyboard: {character!r}: no key of the US layout makes it; send it over COM1")
    return [NAMES[character]]


def types(text: str) -> bool:
    """Whether all of a text can be typed."""
    return all(character in NAMES or character in SHIFTED for character in text)
