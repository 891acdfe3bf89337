"""Downloads a known model into the user's cache, and checks its sha256.

    llama512 fetch stories260K                  into ~/.cache/llama512, where every tool finds it
    llama512 fetch stories260K --to models-dir  into another folder
    llama512 fetch --list                       which models are known
    llama512 fetch --if-missing stories260K     only when no folder has the model yet

A file that is there and has the right sha256 is not downloaded again. A download gets its name only when it is
complete and its sha256 is right, so nothing half-written is ever left, and a good file is never lost.

Files come from Hugging Face. To use a mirror, give its address with --base or LLAMA512_FETCH_BASE: the folder that
holds stories260K/stories260K.bin. By hand: put the files of --list into a folder, and set LLAMA512_MODELS to it.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError, atomic_write, run_tool
from common.model import models
from common.terminal import Progress, argument_parser, table

BASE = "https://huggingface.co/karpathy/tinyllamas/resolve/main"
TIMEOUT = 30  # seconds without any byte
CHUNK = 64 * 1024


@dataclass(frozen=True)
class RemoteFile:
    """A file to download; its own name is the last part of `source`."""

    source: str  # relative to the base address
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.source.rpartition("/")[2]


MODELS = {
    "stories260K": (
        RemoteFile("stories260K/stories260K.bin", 1_056_540,
                   "b0a507e7ad0f626624f17112325e66691f9076d622e1d3274d103d00299f2696"),
        RemoteFile("stories260K/tok512.bin", 6_227,
                   "037cb335abb25d1fa9e8ecae30ed2a3a8ace9302862ebcdc05d51a6bbb10c312"),
    ),
}


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("model", nargs="?", metavar="NAME",
                        help="the model (with --if-missing it may be left out: the default model)")
    parser.add_argument("--to", type=Path, metavar="DIR", default=models.cache_folder(),
                        help="folder to write to (default: %(default)s, the user's cache)")
    parser.add_argument("--base", metavar="URL", default=os.environ.get("LLAMA512_FETCH_BASE") or BASE,
                        help="address to download from (default: $LLAMA512_FETCH_BASE, or %(default)s)")
    parser.add_argument("--if-missing", action="store_true", help="do nothing when the model is found already; "
                        "NAME may then also be a checkpoint's path")
    parser.add_argument("--list", action="store_true", help="list the known models and their files, and stop")
    options = parser.parse_args()
    if options.list:
        rows = [[name, file.name, file.size, file.sha256] for name, files in MODELS.items() for file in files]
        print(table(rows, ["model", "file", "bytes", "sha256"], "llrl"))
        return 0

    if options.if_missing:
        return fetch_if_missing(options)
    if options.model is None:
        parser.error("which model? `llama512 fetch --list` shows the known ones")
    if options.model not in MODELS:
        parser.error(f"unknown model {options.model!r}, known: {', '.join(MODELS)}")
    return fetch(options)


def fetch_if_missing(options: argparse.Namespace) -> int:
    """Downloads the model unless a folder has it; a model that is neither there nor known is an error."""
    options.model = options.model or models.default_model()
    try:
        path = models.find_checkpoint(options.model)
    except models.ModelNotFound:
        if options.model not in MODELS:
            raise
        return fetch(options)
    if options.model in MODELS and path.parent == options.to:
        return fetch(options)  # our own folder: repairs what an interruption between two files left undone
    models.find_model(path)  # the tokenizer must be there, too
    print(f"{options.model}: found, {path}")
    return 0


def fetch(options: argparse.Namespace) -> int:
    """Downloads what is missing or wrong of a model."""
    if options.to is None:
        raise UserError("HOME: not set, and you have no home, so no cache; name a folder with --to, and set LLAMA512_MODELS "
                        "to it")
    for file in MODELS[options.model]:
        target = options.to / file.name
        if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == file.sha256:
            print(f"{target}: already there, sha256 is right")
            continue
        download(f"{options.base.rstrip('/')}/{file.source}", target, file)
        print(f"{target}: downloaded, sha256 is right")
    return 0


def download(url: str, target: Path, file: RemoteFile) -> None:
    """Downloads one file; `target` changes only when everything is right."""
    way_out = (f"try again later, use a mirror with --base, or put {file.name} into a folder by hand "
               "and set LLAMA512_MODELS to that folder")
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "llama512-fetch"})
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise UserError(f"{url}: HTTP status {error.code} ({error.reason}), expected 200; {way_out}") from error
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"{url}: cannot connect: {reason_of(error)}; are you offline? {way_out}") from error
    except ValueError as error:
        raise UserError(f"{url}: not an address ({error}); give --base a URL that begins with https://") from error

    digest, received = hashlib.sha256(), 0
    with response, atomic_write(target) as output, Progress(file.name, file.size, "B") as progress:
        while received <= file.size:
            try:
                chunk = response.read(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise UserError(f"{url}: the connection broke after {received} of {file.size} bytes: "
                                f"{reason_of(error)}; {way_out}") from error
            if not chunk:
                break
            output.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            progress.update(received)
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and received < min(int(announced), file.size):
            raise UserError(f"{url}: the connection broke after {received} of {announced} bytes; {way_out}")
        if received > file.size:
            raise UserError(f"{url}: size: more than the expected {file.size} bytes, so this is another file; "
                            f"{way_out}")
        if digest.hexdigest() != file.sha256:
            raise UserError(f"{url}: sha256: got {digest.hexdigest()} ({received} bytes), expected {file.sha256} "
                            f"({file.size} bytes); {way_out}")


def reason_of(error: Exception) -> str:
    """What went wrong with a connection, in a few words."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"no answer for {TIMEOUT} seconds"
    if isinstance(reason, http.client.HTTPException):
        return " ".join(f"no HTTP answer ({reason})".split())
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


if __name__ == "__main__":
    run_tool(main)
