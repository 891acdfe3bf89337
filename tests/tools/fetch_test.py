"""tools/fetch.py against a small HTTP server on this machine: every way in which a download can go."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import os
import socket
import threading
from pathlib import Path
from unittest import mock

import fetch
from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main
from support.tools import run_tool

from common.model import checkpoint, tokenizer

MODEL = bytes(range(256)) * 2000  # several chunks
VOCABULARY = b"vocabulary" * 10


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.files`; `server.fault` chooses what goes wrong with the .bin that is the model."""

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        data = self.server.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        fault = self.server.fault if self.path.endswith("model.bin") else ""
        self.send_response(200)
        if fault not in ("no length", "endless"):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if fault == "broken":
            self.wfile.write(data[:len(data) // 2])
        elif fault == "endless":
            with contextlib.suppress(OSError):
                for _ in range(1000):
                    self.wfile.write(data)
                self.server.requests.append("the client took everything")
        elif fault == "silent":
            self.wfile.write(data[:1000])
            self.wfile.flush()
            self.server.release.wait(20)
        elif fault == "reset":
            self.wfile.write(data[:len(data) // 2])
            self.wfile.flush()
            # With a linger time of 0, close() sends RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()
        else:
            with contextlib.suppress(OSError):  # the client may have seen enough
                self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass  # broken connections are on purpose


def remote(source: str, data: bytes) -> fetch.RemoteFile:
    return fetch.RemoteFile(source, len(data), hashlib.sha256(data).hexdigest())


class FetchTest(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.cache = self.folder / "xdg" / "llama512"
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.files = {"/base/m/model.bin": MODEL, "/base/m/tok.bin": VOCABULARY}
        self.server.fault, self.server.requests, self.server.release = "", [], threading.Event()
        self.base = f"http://127.0.0.1:{self.server.server_address[1]}/base"
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.server.shutdown)
        self.addCleanup(self.server.release.set)
        known = {"m": (remote("m/model.bin", MODEL), remote("m/tok.bin", VOCABULARY))}
        environment = {"XDG_CACHE_HOME": str(self.folder / "xdg"), "LLAMA512_FETCH_BASE": self.base,
                       "LLAMA512_MODELS": str(self.folder / "models"), "no_proxy": "127.0.0.1"}
        for patch in (mock.patch.object(fetch, "MODELS", known), mock.patch.dict(os.environ, environment)):
            patch.start()
            self.addCleanup(patch.stop)

    def fetch(self, *arguments: object) -> tuple[str, str]:
        """Runs the tool in this process; returns what it printed."""
        out, err = io.StringIO(), io.StringIO()
        with mock.patch("sys.argv", ["fetch.py", *map(str, arguments)]), \
                contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self.assertEqual(fetch.main(), 0)
        return out.getvalue(), err.getvalue()

    def assertFails(self, pattern: str, *arguments: object) -> str:
        message = self.assertUserError(pattern, self.fetch, *(arguments or ("m",)))
        self.assertIn("LLAMA512_MODELS", message)  # the way out
        return message

    def test_no_home(self) -> None:
        with mock.patch.object(fetch.models, "cache_folder", lambda: None):
            self.assertFails("HOME: not set.*--to")
            self.fetch("m", "--to", self.folder / "models")

    def assertNothing(self, folder: Path | None = None) -> None:
        folder = folder or self.cache
        self.assertEqual(os.listdir(folder) if folder.exists() else [], [])

    def test_success(self) -> None:
        out, err = self.fetch("m")
        self.assertEqual(sorted(os.listdir(self.cache)), ["model.bin", "tok.bin"])
        self.assertEqual((self.cache / "model.bin").read_bytes(), MODEL)
        self.assertEqual((self.cache / "tok.bin").read_bytes(), VOCABULARY)
        self.assertEqual(out.count("downloaded, sha256 is right"), 2)
        self.assertIn("model.bin: 100%  512.0 KB of 512.0 KB", err)

    def test_without_a_content_length(self) -> None:
        self.server.fault = "no length"
        self.fetch("m")
        self.assertEqual((self.cache / "model.bin").read_bytes(), MODEL)

    def test_other_folder_and_base(self) -> None:
        with mock.patch.dict(os.environ, {"LLAMA512_FETCH_BASE": "http://127.0.0.1:1/wrong"}):
            self.fetch("m", "--to", self.folder / "a" / "b", "--base", self.base + "/")
        self.assertEqual(sorted(os.listdir(self.folder / "a" / "b")), ["model.bin", "tok.bin"])
        self.assertNothing()

    def test_present_files_are_kept(self) -> None:
        self.fetch("m")
        self.server.requests.clear()
        out, _ = self.fetch("m")
        self.assertEqual((self.server.requests, out.count("already there")), ([], 2))

    def test_only_what_is_missing(self) -> None:
        self.fetch("m")
        (self.cache / "tok.bin").unlink()
        self.server.requests.clear()
        self.fetch("m")
        self.assertEqual(self.server.requests, ["/base/m/tok.bin"])

    def test_a_wrong_file_is_replaced_only_by_a_good_one(self) -> None:
        self.cache.mkdir(parents=True)
        (self.cache / "model.bin").write_bytes(b"wrong")
        self.server.fault = "broken"
        self.assertFails("broke")
        self.assertEqual((self.cache / "model.bin").read_bytes(), b"wrong")
        self.server.fault = ""
        self.fetch("m")
        self.assertEqual((self.cache / "model.bin").read_bytes(), MODEL)

    def test_wrong_hash(self) -> None:
        wrong = b"\1" + MODEL[1:]
        self.server.files["/base/m/model.bin"] = wrong
        message = self.assertFails(f"{self.base}/m/model.bin: sha256: got {hashlib.sha256(wrong).hexdigest()}")
        self.assertIn(f"expected {hashlib.sha256(MODEL).hexdigest()}", message)
        self.assertNothing()

    def test_a_shorter_or_longer_file(self) -> None:
        self.server.files["/base/m/model.bin"] = b"<html>Please log in</html>"
        self.assertFails(r"sha256: got .* \(26 bytes\), expected .* \(512000 bytes\)")
        self.server.files["/base/m/model.bin"] = MODEL * 10
        self.assertFails("size: more than the expected 512000 bytes")
        self.assertNothing()

    def test_an_endless_answer(self) -> None:
        self.server.fault = "endless"
        self.assertFails("size: more than the expected 512000 bytes")
        self.assertNothing()
        self.assertEqual(self.server.requests, ["/base/m/model.bin"])

    def test_interruption_midway(self) -> None:
        self.server.fault = "broken"
        self.assertFails(f"{self.base}/m/model.bin: the connection broke after 256000 of 512000 bytes")
        self.assertNothing()

    def test_reset_midway(self) -> None:
        self.server.fault = "reset"
        self.assertFails(r"the connection broke after \d+ of 512000 bytes")
        self.assertNothing()

    def test_silence_midway(self) -> None:
        self.server.fault = "silent"
        with mock.patch.object(fetch, "TIMEOUT", 0.2):
            self.assertFails(r"the connection broke after \d+ of 512000 bytes: no answer for 0.2 seconds")
        self.assertNothing()

    def test_http_error(self) -> None:
        del self.server.files["/base/m/model.bin"]
        self.assertFails(f"{self.base}/m/model.bin: HTTP status 404 .*, expected 200")
        self.assertNothing()

    def test_no_server(self) -> None:
        with socket.socket() as unused:  # bound, but it does not listen: connections are refused
            unused.bind(("127.0.0.1", 0))
            base = f"http://127.0.0.1:{unused.getsockname()[1]}"
            self.assertFails(f"{base}/m/model.bin: cannot connect: Connection refused; are you offline", "m",
                             "--base", base)
        self.assertNothing()

    def test_not_http(self) -> None:
        def answer(connection: socket.socket) -> None:
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-x\r\n")

        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            threading.Thread(target=lambda: answer(listener.accept()[0]), daemon=True).start()
            base = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self.assertFails(r"cannot connect: no HTTP answer \(SSH-2.0-x \)", "m", "--base", base)

    def test_no_address(self) -> None:
        self.assertUserError("nonsense/m/model.bin: not an address .*https://", self.fetch, "m", "--base", "nonsense")
        self.assertFails("cannot connect", "m", "--base", "gopher://x")

    def test_cannot_write(self) -> None:
        (self.folder / "file").write_bytes(b"")
        with self.assertRaises((NotADirectoryError, FileExistsError)):
            self.fetch("m", "--to", self.folder / "file")

    def test_usage(self) -> None:
        for arguments in ([], ["other"], ["--nope"]):
            with self.assertRaises(SystemExit) as caught:
                self.fetch(*arguments)
            self.assertEqual(caught.exception.code, 2)

    def test_if_missing(self) -> None:
        with mock.patch.object(fetch.models, "default_model", lambda: "m"):
            for arguments in (["--if-missing", "m"], ["--if-missing"]):
                # No folder has an m.bin (the file is called model.bin here), so both calls fetch it.
                self.fetch(*arguments)
                self.assertTrue((self.cache / "model.bin").is_file())
        (self.cache / "m.bin").write_bytes(b"")
        (self.cache / "tok.bin").unlink()
        self.fetch("--if-missing", "m")  # found in the cache, but not complete
        self.assertTrue((self.cache / "tok.bin").is_file())
        path = self.folder / "models" / "n.bin"
        checkpoint.write(path, small_checkpoint())
        self.assertUserError("no tokenizer", self.fetch, "--if-missing", "n")
        tokenizer.write(path.with_name("tokenizer.bin"), [b"x"] * 10, [0.0] * 10)
        self.server.requests.clear()
        self.assertEqual(self.fetch("--if-missing", "n")[0], f"n: found, {path}\n")
        self.assertEqual(self.fetch("--if-missing", path)[0], f"{path}: found, {path}\n")
        self.assertUserError("model 'zzz' not found", self.fetch, "--if-missing", "zzz")
        self.assertEqual(self.server.requests, [])


class CommandLine(FolderTest):
    def test_list(self) -> None:
        result = run_tool("fetch", "--list")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for file in fetch.MODELS["stories260K"]:
            self.assertIn(file.sha256, result.stdout)

    def test_one_line_and_status_1_without_a_server(self) -> None:
        result = run_tool("fetch", "stories260K", "--to", self.folder, "--base", "http://127.0.0.1:1")
        self.assertEqual((result.returncode, result.stdout, result.stderr.count("\n")), (1, "", 1))
        self.assertTrue(result.stderr.startswith(
            "llama512 fetch: error: http://127.0.0.1:1/stories260K/stories260K.bin: cannot connect"), result.stderr)

    def test_the_address_is_right(self) -> None:
        self.assertEqual(f"{fetch.BASE}/{fetch.MODELS['stories260K'][0].source}",
                         "https://huggingface.co/karpathy/tinyllamas/resolve/main/stories260K/stories260K.bin")


if __name__ == "__main__":
    main()
