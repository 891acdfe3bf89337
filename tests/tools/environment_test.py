"""The tools in unusual environments: a locale that is not UTF-8."""

from __future__ import annotations

from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main
from support.tools import TOOLS, run_tool

from common.engine import engines
from common.model import random_model

# Python alone would take UTF-8 in the locale C; with these it does what it does in any other locale, such as de_DE.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


class Locale(FolderTest):
    def test_help(self) -> None:
        for arguments in ([], *([tool.stem, "--help"] for tool in sorted(TOOLS.glob("[!_]*.py")))):
            with self.subTest(arguments=arguments):
                result = run_tool(*arguments, env=ASCII)
                self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_build_and_size(self) -> None:
        config = small_checkpoint().config
        model = random_model.write(self.folder, "m", random_model.weights(config, 3, 4))
        for arguments in (["build", "-o", self.folder / "out"], ["size", "--markdown"]):
            result = run_tool(*arguments, "--model", model.checkpoint, "--engine", engines.names()[0], env=ASCII)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertNotEqual(result.stdout, "")


if __name__ == "__main__":
    main()
