"""The Python environments of the checkout: `.venv`, and `.venv-check` for what conflicts with it.

A mark in the environment says what is installed: the requirements and the packages. It is written
last. What an interrupted installation leaves has no mark, and is installed again from nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.setup.compiling import REPOSITORY, SetupError
from tools.setup.progress import Display, Stream

REQUIREMENTS = REPOSITORY / "tools" / "requirements"
# It installs in seconds what takes pip a minute.
INSTALLER = REQUIREMENTS / "installer.txt"

# Between the requirements and the packages in a mark.
PACKAGES = "# installed:\n"

TOTAL = re.compile(r"^Resolved (\d+) packages?")
DOWNLOADED = re.compile(r"^\s*(?:Downloaded|Built|Collecting) (\S+)")
DOWNLOADING = re.compile(r"^\s*(?:Downloading|Building) (\S+)")


class VirtualEnvironment:
    """A virtual environment with the packages of some files of requirements."""

    def __init__(self, name: str, display: Display) -> None:
        self.folder = REPOSITORY / name
        self._display = display
        self._process: subprocess.Popen[str] | None = None

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def mark(self, requirements: str) -> Path:
        """The file that says that those requirements are installed."""
        return self.folder / f".complete-{requirements}"

    @property
    def _begun(self) -> Path:
        return self.folder / ".installing"

    def missing(self, wanted: Sequence[str]) -> list[str]:
        """Those of the wanted files of requirements that are not completely installed."""
        if self._broken():
            return list(wanted)
        return [name for name in wanted if not self._installed(name)]

    def _broken(self) -> str:
        """Why the environment has to be made from nothing, if so."""
        if not self.folder.exists():
            return "it is not there"
        if self._begun.exists():
            return "an installation was interrupted"
        if not self.python.exists():
            return "its Python interpreter is not there"
        return ""

    def _installed(self, name: str) -> bool:
        try:
            requirements, _, packages = self.mark(name).read_text("utf-8").partition(PACKAGES)
        except OSError:
            return False
        if requirements != text_of(name):
            return False
        site = self._site()
        return site is not None and all((site / each).is_dir() for each in packages.split())

    def _site(self) -> Path | None:
        return next(iter(self.folder.glob("lib/python3*/site-packages")), None)

    def install(self, wanted: Sequence[str]) -> None:
        """Installs the wanted files of requirements, together with those that are there already, so
        that no version of one breaks the other."""
        stream = Stream("tools" if self.folder.name == ".venv" else "tools for checks", "packages")
        self._display.add(stream)
        if (reason := self._broken()) and self.folder.exists():
            self._display.say(f"tools: {self.folder.name} is made again, because {reason}")
            remove(self.folder)
        already = [mark.name.rpartition("-")[2] for mark in self.folder.glob(".complete-*")]
        names = [*wanted, *(each for each in already if each not in wanted)]
        names = [name for name in names if (REQUIREMENTS / f"{name}.txt").is_file()]
        if not self.folder.exists():
            stream.doing = "making the environment"
            self._run([sys.executable, "-m", "venv", str(self.folder)], stream)
        self._begun.touch()
        for name in already:
            self.mark(name).unlink(missing_ok=True)
        files = [f"--requirement={REQUIREMENTS / name}.txt" for name in names]
        self._install(files, stream)
        site = self._site()
        found = sorted(each.name for each in site.glob("*.dist-info")) if site else []
        for name in names:
            text = text_of(name) + PACKAGES + "".join(f"{each}\n" for each in found)
            self.mark(name).write_text(text, "utf-8")
        self._begun.unlink()
        stream.step(len(found), len(found))
        stream.end()

    def _install(self, files: list[str], stream: Stream) -> None:
        if uv := self._uv(stream):
            try:
                self._run([uv, "pip", "install", f"--python={self.python}", *files], stream)
                return
            except SetupError as error:
                self._display.say(f"tools: {error}; pip tries it")
        pip = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check"]
        self._run([*pip, "--no-input", "--progress-bar=off", *files], stream)

    def _uv(self, stream: Stream) -> str | None:
        """The installer: the user's own, or one fetched for this environment."""
        if own := shutil.which("uv"):
            return own
        pip = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check"]
        try:
            self._run([*pip, "--no-input", "--quiet", f"--requirement={INSTALLER}"], stream)
        except SetupError:
            return None  # pip does it all
        return str(self.folder / "bin" / "uv")

    def _run(self, command: list[str], stream: Stream) -> None:
        """Runs an installer, whose output is kept for the case that it fails."""
        said: list[str] = []
        variables = {**os.environ, "UV_LINK_MODE": "copy", "NO_COLOR": "1"}
        self._process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said.append(line.rstrip())
            read(line, stream)
        if self._process.wait() != 0:
            for line in said[-15:]:
                self._display.say(f"  {line}")
            what = Path(command[0]).name
            raise SetupError(f"{what} could not install the tools; the next run tries it again")

    def stop(self) -> None:
        """Ends an installation; the next one begins from nothing."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


def read(line: str, stream: Stream) -> None:
    """Takes from a line of the installer how far it is."""
    if total := TOTAL.match(line):
        stream.step(0, int(total[1]), "downloading")
    elif loading := DOWNLOADING.match(line):
        stream.doing = f"downloading {loading[1]}"
    elif loaded := DOWNLOADED.match(line):
        stream.step(stream.done + 1, stream.total, f"downloaded {loaded[1]}")
    elif line.startswith(("Prepared", "Installing")):
        stream.step(stream.done, stream.total, "installing")


def text_of(requirements: str) -> str:
    return (REQUIREMENTS / f"{requirements}.txt").read_text("utf-8")


def remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)
