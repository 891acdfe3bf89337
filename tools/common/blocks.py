"""Blocks of README.md, or another page, that tools write: between `<!-- NAME: who writes it -->` and `<!-- end of NAME -->`.

    from common import blocks
    text = blocks.replaced(text, "one-line", "the new content\\n")
"""

from __future__ import annotations

import re

from common.errors import UserError

README = "README.md"  # from the project's folder


def content(text: str, name: str) -> str:
    """What the block says."""
    return _block(text, name)[2]


def replaced(text: str, name: str, content: str, page: str = README) -> str:
    """The text with another content of the block. `page` is where it is from, for messages."""
    block = _block(text, name, page)
    return text[:block.start(2)] + content + text[block.end(2):]


def _block(text: str, name: str, page: str = README) -> re.Match[str]:
    """Its first line, its content, its last line."""
    block = re.search(rf"(^<!-- {name}: [^\n]* -->\n)(.*?)(^<!-- end of {name} -->$)", text, re.MULTILINE | re.DOTALL)
    if block is None:
        raise UserError(f"{page}: no block `<!-- {name}: … -->` to `<!-- end of {name} -->`; take the file from git")
    return block
