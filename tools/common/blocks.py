"""Blocks of README.md that tools write: between `<!-- NAME: who writes it -->` and `<!-- end of NAME -->`.

    from common import blocks
    text = blocks.replaced(text, "one-line", "the new content\\n")
"""

from __future__ import annotations

import re

from common.errors import UserError

README = "README.md"  # from the project's folder


def find(text: str, name: str) -> re.Match[str] | None:
    """The block of that name: its first line, its content, its last line."""
    return re.search(rf"(^<!-- {name}: [^\n]* -->\n)(.*?)(^<!-- end of {name} -->$)", text, re.MULTILINE | re.DOTALL)


def replaced(text: str, name: str, content: str) -> str:
    """The text with another content of the block."""
    block = find(text, name)
    if block is None:
        raise UserError(f"{README}: no block `<!-- {name}: … -->` to `<!-- end of {name} -->`; take the file from git")
    return text[:block.start(2)] + content + text[block.end(2):]
