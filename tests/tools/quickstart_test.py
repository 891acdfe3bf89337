"""tools/quickstart on pretended machines: a PATH of stubs that write down how they are called."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from support.folders import FolderTest
from support.skip import main
from support.tools import ROOT, TOOLS

LISTS = [TOOLS / "packages.txt", *sorted((ROOT / "golf" / "targets").glob("*/packages.txt"))]
LINES = [line.split()[:3] for path in LISTS for line in path.read_text("utf-8").splitlines() if line and line[0] != "#"]
ROWS = [row for row in LINES if row[2] != "density"]
JOBS: dict[str, str] = {}  # the first job that needs each package, in the order of the lists
for package, _, job in sorted(ROWS, key=lambda row: row[2] != "demo"):
    JOBS.setdefault(package, job)
JOBS = {package: JOBS[package] for package, *_ in ROWS}
COMMANDS = [(package, *command.split(">=")) for package, command, _ in ROWS if command != "-"]
PACKAGES = list(dict.fromkeys(package for package, *_ in COMMANDS))
NO_COMMAND = [package for package in JOBS if package not in PACKAGES]
FOR_TESTS, FOR_ALL, OPTIONAL = ([package for package, job in JOBS.items() if job in wanted]
                                for wanted in (("all", "test"), ("all",), ("optional",)))
OPTIONAL_LIST = " ".join(OPTIONAL)
BASICS = ("sh", "cat", "dirname", "readlink", "sed", "grep", "head", "sort", "env")
DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'


class Quickstart(FolderTest):
    def setUp(self) -> None:
        """A copy of quickstart in a project whose front door is a stub, and a PATH with the basics alone."""
        super().setUp()
        self.project = self.folder / "project"
        (self.project / "tools").mkdir(parents=True)
        self.script = Path(shutil.copy(TOOLS / "quickstart", self.project / "tools"))
        shutil.copy(TOOLS / "packages.txt", self.project / "tools")
        for path in (ROOT / "golf" / "targets").glob("*/packages.txt"):
            folder = self.project / path.parent.relative_to(ROOT)
            folder.mkdir(parents=True)
            shutil.copy(path, folder)
        self.log = self.folder / "log"
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for name in BASICS:
            (self.bin / name).symlink_to(shutil.which(name))
        self.installed = self.folder / "installed"  # what dpkg knows
        self.installed.touch()
        self.stub("dpkg-query", 'sed "s/$/ installed/" "$INSTALLED"', log=False)
        self.stub("id", "echo 0", log=False)
        self.stub("apt-get", 'case $1 in install) shift; for p; do "$INSTALL" "$p"; done ;; esac')
        self.stub("llama512", "", self.project / "tools")
        self.release = self.folder / "os-release"
        self.release.write_text(DEBIAN, "utf-8")
        # "Installing" a package makes its command appear, and dpkg know it.
        lines = [f"[ $1 != {package} ] || cp '{path}' '{self.bin}'" for package in PACKAGES for path in self.commands(package)]
        self.stub("install", "\n".join(['echo "$1" >> "$INSTALLED"', *lines]), self.folder, log=False)

    def stub(self, name: str, body: str, folder: Path | None = None, log: bool = True) -> Path:
        path = (folder or self.bin) / name
        line = f'echo "{name} $*" >> "$LOG"\n' * log
        path.write_text(f"#!/bin/sh\n{line}{body}\n", "utf-8")
        path.chmod(0o755)
        return path

    def prepared(self, name: str, version: str) -> Path:
        """A command that is not in PATH yet: it prints its version, or writes down its arguments."""
        (self.folder / "archive").mkdir(exist_ok=True)
        return self.stub(name, f'[ "$1" = --version ] && echo "{name} (Debian) {version}" && exit\n'
                         f'echo "{name} $*" >> "$LOG"', self.folder / "archive", log=False)

    def commands(self, package: str) -> list[Path]:
        """All that a package brings, as new as it has to be."""
        return [self.prepared(command, f"{version[0] if version else 1}.0")
                for name, command, *version in COMMANDS if name == package]

    def provide(self, *names: str) -> None:
        """These packages are on the machine from the start."""
        for name in names:
            for path in self.commands(name):
                shutil.copy(path, self.bin)
            if name not in PACKAGES:
                self.installed.write_text(self.installed.read_text("utf-8") + f"{name}\n", "utf-8")

    def optional_calls(self, packages: list[str] | None = None) -> list[str]:
        """How they are installed: one by one, and of those that bring the same command only the first."""
        first = {command: package for package, command, *_ in reversed(COMMANDS)}
        names = packages or [name for name in OPTIONAL if name in NO_COMMAND or name in first.values()]
        return [f"apt-get install -y --no-install-recommends {name}" for name in names]

    def provide_all(self) -> None:
        self.provide(*PACKAGES, *NO_COMMAND)

    def start(self, *arguments: object, cwd: Path | None = None, script: Path | None = None,
              **environment: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("", "utf-8")
        (self.bin / "cp").exists() or (self.bin / "cp").symlink_to(shutil.which("cp"))
        return subprocess.run([script or self.script, *map(str, arguments)], encoding="utf-8", capture_output=True,
                              timeout=60, cwd=cwd or self.folder,
                              env={"PATH": str(self.bin), "LOG": str(self.log), "INSTALLED": str(self.installed),
                                   "INSTALL": str(self.folder / "install"), "HOME": str(self.folder),
                                   "LLAMA512_OS_RELEASE": str(self.release), **environment})

    def calls(self) -> list[str]:
        return self.log.read_text("utf-8").splitlines()

    # --- Nothing is missing

    def test_demo(self) -> None:
        self.provide_all()
        result = self.start()
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(self.calls(), ["llama512 fetch --if-missing", "cmake --workflow --preset demo"])
        self.assertTrue(all(line.startswith("==> ") for line in result.stdout.splitlines()), result.stdout)

    def test_test(self) -> None:
        self.provide_all()
        for arguments in (["test"], ["test", "--no-install"], ["--no-install", "test"]):
            self.assertEqual(self.start(*arguments).returncode, 0)
            self.assertEqual(self.calls(), ["cmake --workflow --preset test"])

    def test_all(self) -> None:
        """The demo does not ask for what only some engines need; --all and the tests do."""
        self.provide(*(name for name in (*PACKAGES, *NO_COMMAND) if name not in FOR_ALL))
        self.assertTrue(FOR_ALL)
        self.start()
        self.assertEqual(self.calls(), ["llama512 fetch --if-missing", "cmake --workflow --preset demo"])
        for arguments in ["--all", "--no-install"], ["test", "--no-install"], ["test", "--all", "--no-install"]:
            result = self.start(*arguments)
            self.assertEqual((result.returncode, result.stdout.splitlines()[1]), (1, f"missing: {' '.join(FOR_ALL)}"))
        self.start("--all")
        self.assertEqual(self.calls(), ["apt-get update",
                                        f"apt-get install -y --no-install-recommends {' '.join(FOR_ALL)}",
                                        "llama512 fetch --if-missing", "cmake --workflow --preset demo"])

    def test_install_only(self) -> None:
        self.provide(*(name for name in (*PACKAGES, *NO_COMMAND) if name not in FOR_ALL))
        result = self.start("--all", "--install-only")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(self.calls(), ["apt-get update",
                                        f"apt-get install -y --no-install-recommends {' '.join(FOR_ALL)}"])
        self.start("--all", "--install-only")
        self.assertEqual(self.calls(), [])

    def test_model_by_name(self) -> None:
        self.provide_all()
        for arguments in (["--model", "stories260K"], ["--model=stories260K"]):
            self.assertEqual(self.start(*arguments).returncode, 0)
            self.assertEqual(self.calls(), ["llama512 fetch --if-missing stories260K",
                                            "cmake --preset default -DLLAMA512_MODEL=stories260K",
                                            "cmake --workflow --preset demo"])
        self.start("test", "--model", "stories260K")
        self.assertEqual(self.calls(), ["cmake --preset default -DLLAMA512_MODEL=stories260K",
                                        "cmake --workflow --preset test"])

    def test_model_by_path_is_the_callers(self) -> None:
        self.provide_all()
        here = self.folder / "with space"
        here.mkdir()
        for given, meant in (("my.bin", f"{here}/my.bin"), ("sub/x", f"{here}/sub/x"), ("/abs/x.bin", "/abs/x.bin")):
            self.assertEqual(self.start("--model", given, cwd=here).returncode, 0)
            self.assertEqual(self.calls()[0], f"llama512 fetch --if-missing {meant}")
            self.assertEqual(self.calls()[1], f"cmake --preset default -DLLAMA512_MODEL={meant}")

    def test_an_earlier_choice_of_model_does_not_stay(self) -> None:
        self.provide_all()
        cache = self.project / "build" / "default" / "CMakeCache.txt"
        cache.parent.mkdir(parents=True)
        for line, expected in (("LLAMA512_MODEL:STRING=/x.bin", ["cmake --preset default -ULLAMA512_MODEL"]),
                               ("LLAMA512_MODEL:STRING=", []), ("OTHER:STRING=x", [])):
            cache.write_text(f"{line}\n", "utf-8")
            self.assertEqual(self.start("test").returncode, 0)
            self.assertEqual(self.calls(), [*expected, "cmake --workflow --preset test"])

    def test_a_failing_step_stops_the_rest(self) -> None:
        self.provide_all()
        self.stub("llama512", "exit 1", self.project / "tools")
        self.assertEqual(self.start().returncode, 1)
        self.assertEqual(self.calls(), ["llama512 fetch --if-missing"])
        self.stub("cmake", '[ "$1" = --version ] && echo 3.25.1 && exit; exit 5', log=False)
        self.assertEqual(self.start("test").returncode, 5)

    def test_through_a_symbolic_link(self) -> None:
        self.provide_all()
        (self.folder / "link").symlink_to(self.script)
        self.assertEqual(self.start(script=self.folder / "link").returncode, 0)
        self.assertEqual(self.calls()[-1], "cmake --workflow --preset demo")

    # --- Something is missing

    def test_installs_what_is_missing(self) -> None:
        self.provide("g++", "python3", "ninja-build")
        missing = " ".join(package for package, job in JOBS.items()
                           if job == "demo" and package not in ("g++", "python3", "ninja-build"))
        self.assertRegex(missing, "^cmake python3-numpy nasm .*qemu-user")
        result = self.start()
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(self.calls(), [
            "apt-get update",
            f"apt-get install -y --no-install-recommends {missing}",
            "llama512 fetch --if-missing",
            "cmake --workflow --preset demo"])
        result = self.start("test")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(self.calls(), [
            "apt-get update",
            f"apt-get install -y --no-install-recommends {' '.join(FOR_TESTS)}",
            *self.optional_calls(),
            "cmake --workflow --preset test"])
        self.start("test")
        self.assertEqual(self.calls(), ["cmake --workflow --preset test"])

    def test_optional_packages(self) -> None:
        """Only the tests want them, and nothing stops where they cannot be had."""
        self.provide(*(name for name in PACKAGES if name not in OPTIONAL), *NO_COMMAND)
        self.assertEqual(self.start().returncode, 0)
        self.assertEqual(self.calls(), ["llama512 fetch --if-missing", "cmake --workflow --preset demo"])
        result = self.start("test", "--no-install")
        self.assertEqual((result.returncode, self.calls()), (0, ["cmake --workflow --preset test"]))
        self.assertIn(f"missing, so tests will be skipped: {OPTIONAL_LIST}\n", result.stdout)
        self.stub("apt-get", '[ "$1" = update ]')  # an archive without them
        result = self.start("test")
        self.assertEqual(result.returncode, 0)
        self.assertIn(f"not installed, so tests will be skipped: {OPTIONAL_LIST}\n", result.stdout)
        self.assertEqual(self.calls(), ["apt-get update", *self.optional_calls(OPTIONAL),
                                        "cmake --workflow --preset test"])
        self.stub("apt-get", '[ "$1" = update ] || [ "$4" != chromium ] && for last; do :; done && "$INSTALL" "$last"')
        result = self.start("test")  # one of them cannot be had
        self.assertIn("not installed, so tests will be skipped: chromium\n", result.stdout)

    def test_apt_asks_no_questions(self) -> None:
        self.provide_all()
        (self.bin / "nasm").unlink()
        self.stub("apt-get", 'echo "frontend=$DEBIAN_FRONTEND" >> "$LOG"; exit 100')
        self.start()
        self.assertIn("frontend=", self.calls()[1])
        self.stub("apt-get", 'echo "frontend=$DEBIAN_FRONTEND" >> "$LOG"; [ "$1" = update ]')
        self.start()
        self.assertEqual(self.calls()[3], "frontend=noninteractive")

    def test_failing_apt(self) -> None:
        self.provide("g++")
        self.stub("apt-get", "exit 100")
        result = self.start()
        self.assertEqual(result.returncode, 1)
        self.assertIn("quickstart: error: 'apt-get update' failed", result.stderr)
        self.assertEqual(self.calls(), ["apt-get update"])

    def test_sudo(self) -> None:
        others = [name for name in NO_COMMAND if name != "libgtest-dev"]
        self.provide(*PACKAGES, *others)
        self.stub("id", "echo 1000", log=False)
        result = self.start("test")
        self.assertEqual((result.returncode, self.calls()), (1, []))
        self.assertIn("there is no sudo, so run as root: apt-get update && apt-get install libgtest-dev", result.stderr)
        self.provide("libgtest-dev")
        (self.bin / "chromium").unlink()
        result = self.start("test")
        self.assertEqual((result.returncode, result.stderr, self.calls()), (0, "", ["cmake --workflow --preset test"]))
        self.assertIn("missing, so tests will be skipped: chromium\n", result.stdout)
        self.provide("chromium")
        self.installed.write_text("\n".join([*others, ""]), "utf-8")
        self.stub("sudo", '"$@"')
        self.assertEqual(self.start("test").returncode, 0)
        self.assertEqual(self.calls(), [
            "sudo apt-get update", "apt-get update",
            "sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends libgtest-dev",
            "apt-get install -y --no-install-recommends libgtest-dev",
            "cmake --workflow --preset test"])

    def test_no_install(self) -> None:
        self.provide("g++", "python3", "ninja-build")
        for arguments, jobs in (["--no-install"], ["demo"]), (["test", "--no-install"], ["demo", "all", "test"]):
            missing = " ".join(package for package, job in JOBS.items()
                               if job in jobs and package not in ("g++", "python3", "ninja-build"))
            result = self.start(*arguments)
            self.assertEqual((result.returncode, result.stderr, self.calls()), (1, "", []))
            self.assertEqual(result.stdout.splitlines()[1:], [
                f"missing: {missing}",
                "install: apt-get update && env DEBIAN_FRONTEND=noninteractive "
                f"apt-get install -y --no-install-recommends {missing}"])

    def test_a_known_package_needs_no_command(self) -> None:
        """A removed package whose configuration is left is not installed."""
        self.provide("libgtest-dev")
        self.stub("dpkg-query", "echo libgtest-dev config-files", log=False)
        self.assertIn("libgtest-dev", self.start("test", "--no-install").stdout)

    def test_old_command(self) -> None:
        self.provide_all()
        self.stub("cmake", "echo cmake version 3.9.6", log=False)
        result = self.start("--no-install")
        self.assertEqual((result.returncode, result.stdout.splitlines()[1]), (1, "missing: cmake"))
        # The package is there, but an older cmake comes first in PATH: apt cannot help.
        self.provide("cmake-as-package")
        self.installed.write_text("\n".join(["cmake", *NO_COMMAND, ""]), "utf-8")
        result = self.start()
        self.assertEqual((result.returncode, self.calls()), (1, []))
        self.assertIn(f"{self.bin}/cmake: version 3.9.6, needed is cmake>=3.25", result.stderr)

    def test_newer_commands_are_fine(self) -> None:
        self.provide_all()
        for name, version in (("cmake", "4.0.1"), ("g++", "13.3.0"), ("python3", "3.12.3")):
            self.prepared(name, version)
            shutil.copy(self.folder / "archive" / name, self.bin)
        self.assertEqual(self.start("test").returncode, 0)

    # --- Systems

    def test_supported_systems(self) -> None:
        self.provide_all()
        for text, supported in ((DEBIAN, True), ("ID=debian\n", True), ("ID=debian\nVERSION_ID=13\n", True),
                                ("ID=debian\nVERSION_ID=11\n", False), ("ID=debian\nVERSION_ID=9\n", False),
                                ('ID=ubuntu\nVERSION_ID="24.04"\n', True), ('ID=ubuntu\nVERSION_ID="25.10"\n', True),
                                ('ID=ubuntu\nVERSION_ID="22.04"\n', False), ("ID=fedora\nVERSION_ID=41\n", False),
                                ("ID=alpine\n", False), ("", False)):
            self.release.write_text(text, "utf-8")
            self.assertEqual(self.start("test").returncode, 0 if supported else 1, text)
            self.assertEqual(self.calls() != [], supported, text)

    def test_other_systems_get_the_list(self) -> None:
        self.release.write_text('PRETTY_NAME="Fedora Linux 41"\nID=fedora\nVERSION_ID=41\n', "utf-8")
        for arguments in ([], ["--no-install"], ["test"]):
            result = self.start(*arguments)
            self.assertEqual((result.returncode, result.stdout, self.calls()), (1, "", []))
            self.assertIn("Fedora Linux 41", result.stderr)
            for package in (*PACKAGES, *NO_COMMAND):
                wanted = arguments == ["test"] or package not in (*FOR_TESTS, *OPTIONAL)
                (self.assertRegex if wanted else self.assertNotRegex)(result.stderr, rf"\n  {re.escape(package)} ")
            self.assertIn("cmake>=3.25", result.stderr)
            self.assertIn(f"cmake --workflow --preset {'test' if arguments == ['test'] else 'demo'}", result.stderr)

    def test_no_os_release(self) -> None:
        self.release.unlink()
        self.assertIn("this system", self.start().stderr)

    # --- The command line

    def test_help(self) -> None:
        for option in ("--help", "-h"):
            result = self.start(option)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertIn("usage: tools/quickstart", result.stdout)

    def test_wrong_usage(self) -> None:
        for arguments in (["--nope"], ["tests"], [""], ["--model"], ["--model", ""], ["--model="], ["test", "x"]):
            result = self.start(*arguments)
            self.assertEqual((result.returncode, result.stdout, result.stderr.count("\n"), self.calls()),
                             (2, "", 1, []), arguments)

    def test_no_colour_in_a_log(self) -> None:
        self.provide_all()
        self.assertNotIn("\x1b", self.start(TERM="xterm").stdout)

    def test_every_package_says_why(self) -> None:
        for path in LISTS:
            for line in filter(None, path.read_text("utf-8").splitlines()):
                if not line.startswith("#"):
                    self.assertRegex(line, r"^[a-z0-9.+-]+ +[a-z0-9_.+=>-]+ +(demo|all|test|optional|density) +# \w")

    def test_a_target_s_packages_are_installed(self) -> None:
        folder = self.project / "golf" / "targets" / "zzz"
        folder.mkdir()
        (folder / "packages.txt").write_text("qemu-user  qemu-i386  demo  # again\nzzz  -  demo  # why\n", "utf-8")
        self.provide_all()
        self.assertIn("missing: zzz\n", self.start("--no-install").stdout)

    def test_the_density_study_s_packages_are_not(self) -> None:
        """No job asks for them, however many they are."""
        wanted = {package for package, *_, job in LINES if job == "density"} - {*PACKAGES, *NO_COMMAND}
        self.assertGreater(len(wanted), 5)
        self.provide_all()
        for arguments in ([], ["--all"], ["test"]):
            result = self.start("--no-install", *arguments)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertNotIn("missing", result.stdout)
        self.release.write_text("ID=fedora\n", "utf-8")
        said = self.start("test").stderr.split()
        self.assertEqual(wanted & {*said}, set())

    def test_every_command_of_a_package_must_be_there(self) -> None:
        """Another target may want another command of the same package."""
        folder = self.project / "golf" / "targets" / "zzz"
        folder.mkdir()
        (folder / "packages.txt").write_text("qemu-user  qemu-y  demo  # why\nqemu-user  qemu-z  demo  # why\n", "utf-8")
        self.provide_all()
        self.assertIn("missing: qemu-user\n", self.start("--no-install").stdout)
        result = self.start()
        self.assertEqual(result.returncode, 1)
        self.assertIn("qemu-y: not found, though the package qemu-user is installed", result.stderr)


if __name__ == "__main__":
    os.umask(0o022)
    main()
