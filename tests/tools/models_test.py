"""common/model/models.py: the order in which models, tokenizers and golden data are found."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main

from common.model import checkpoint, models, tokenizer


class ModelsTest(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.root = self.folder / "main"
        self.own = self.root / "models"
        self.chosen = self.folder / "chosen"
        self.shared = self.folder / "shared" / "models"
        self.cache = self.folder / "xdg" / "llama512"
        environment = {"LLAMA512_MODELS": str(self.chosen), "XDG_CACHE_HOME": str(self.folder / "xdg")}
        for patch in (mock.patch.object(models, "ROOT", self.root), mock.patch.dict(os.environ, environment)):
            patch.start()
            self.addCleanup(patch.stop)

    def make(self, path: Path, tokenizer_name: str | None = "tokenizer.bin") -> Path:
        checkpoint.write(path, small_checkpoint())
        if tokenizer_name:
            tokenizer.write(path.with_name(tokenizer_name), [b"x"] * 10, [0.0] * 10)
        return path

    def test_order_of_folders(self) -> None:
        places = [self.own / "m" / "m.bin", self.chosen / "m.bin", self.shared / "m.bin", self.cache / "m.bin"]
        for path in reversed(places):
            self.make(path)
            self.assertEqual(models.find_model("m"), models.Model("m", path, path.with_name("tokenizer.bin")))
        self.assertEqual(models.candidates("m"), places)

    def test_without_environment(self) -> None:
        with mock.patch.dict(os.environ, {"LLAMA512_MODELS": "", "XDG_CACHE_HOME": "", "HOME": "/home/x"}):
            self.assertEqual(models.data_folders(), [self.shared, Path("/home/x/.cache/llama512")])

    def test_no_home(self) -> None:
        """No HOME, and a user who is not in /etc/passwd: there is no cache, and all else is found."""
        path = self.make(self.chosen / "m.bin")
        with mock.patch.dict(os.environ, XDG_CACHE_HOME=""), mock.patch("pwd.getpwuid", side_effect=KeyError):
            os.environ.pop("HOME", None)
            self.assertIsNone(models.cache_folder())
            self.assertEqual(models.data_folders(), [self.chosen, self.shared])
            self.assertEqual(models.find_model("m").checkpoint, path)

    def test_relative_xdg_is_ignored(self) -> None:
        with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": "here", "HOME": "/home/x"}):
            self.assertEqual(models.cache_folder(), Path("/home/x/.cache/llama512"))

    def test_path(self) -> None:
        path = self.make(self.folder / "elsewhere" / "my.bin")
        self.assertEqual(models.find_model(path).checkpoint, path)
        self.assertEqual(models.find_model(str(path)).name, "my")
        self.assertUserError("none.bin: no such file", models.find_model, "none.bin")
        self.assertUserError("a/b: no such file", models.find_model, "a/b")

    def test_order_of_tokenizers(self) -> None:
        path = self.make(self.chosen / "m.bin", None)
        for name in ("tok10.bin", "tokenizer.bin", "m.tokenizer.bin"):
            tokenizer.write(self.chosen / name, [b"x"] * 10, [0.0] * 10)
            self.assertEqual(models.find_model("m"), models.Model("m", path, self.chosen / name))

    def test_tokenizer_given(self) -> None:
        self.make(self.chosen / "m.bin")
        other = self.make(self.folder / "other.bin", "t.bin").with_name("t.bin")
        self.assertEqual(models.find_model("m", other).tokenizer, other)
        self.assertUserError("none: no such file, give a tokenizer.s path", models.find_model, "m", "none")

    def test_no_tokenizer(self) -> None:
        self.make(self.chosen / "m.bin", "tok11.bin")
        self.assertUserError("m.tokenizer.bin, tokenizer.bin, tok10.bin in .*--tokenizer", models.find_model, "m")

    def test_not_found_names_places_and_way_out(self) -> None:
        message = self.assertUserError("model 'm' not found", models.find_model, "m")
        for place in models.candidates("m"):
            self.assertIn(str(place), message)
        self.assertIn("tools/llama512 fetch m", message)

    def test_bad_checkpoint_is_refused(self) -> None:
        self.make(self.chosen / "m.bin").write_bytes(b"bad")
        self.assertUserError("m.bin: file size: 3", models.find_model, "m")

    def test_default_model(self) -> None:
        self.assertEqual(models.default_model(), "stories260K")
        path = self.make(self.chosen / "stories260K.bin")
        self.assertEqual(models.find_model().checkpoint, path)
        self.make(self.own / "fables" / "fables.bin")
        self.assertEqual(models.default_model(), "fables")
        self.assertEqual(models.find_model().name, "fables")

    def test_golden(self) -> None:
        self.assertIsNone(models.find_golden("greedy.txt"))
        for golden in (self.folder / "shared" / "golden", self.folder / "golden"):
            golden.mkdir(parents=True)
            (golden / "greedy.txt").touch()
            self.assertEqual(models.find_golden("greedy.txt"), golden / "greedy.txt")


if __name__ == "__main__":
    main()
