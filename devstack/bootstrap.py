"""Make `.venv` and put the locked packages into it; the first step of every target in the Makefile.

It runs on whatever `python3` the machine has, before anything is installed: only the standard library, and
only syntax that Python 3.5 can parse, so that a Python that is too old gets a sentence and not a SyntaxError.
"""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements-dev.lock"
STAMP = VENV / "installed"
OLDEST_PYTHON = (3, 11)
BYTES_NEEDED = 1500 * 1000 * 1000

# What pip may be configured with, and how uv calls it.
PIP_SETTINGS_FOR_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}
# Places besides the index often have files for one platform only: good to install from, not to lock from.
PIP_SETTINGS_FOR_INSTALLING = {"extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}


class CannotInstall(Exception):
    """Why the packages cannot be installed, in one sentence for the person at the terminal."""


def main() -> int:
    try:
        check_python(sys.version_info[:3])
        if not is_installed():
            check_machine(VENV)
            install()
        if sys.argv[1:] == ["lock"]:
            write_locks()
    except CannotInstall as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The next `make` starts the installation again.", file=sys.stderr)
        return 1
    return 0


def check_python(version: "tuple[int, ...]") -> None:
    if version < OLDEST_PYTHON:
        raise CannotInstall(
            "Countersign needs Python {0[0]}.{0[1]} or newer, and {1} is Python {2}: "
            "name a newer one, as in `make up PYTHON=/path/to/python3.11`.".format(
                OLDEST_PYTHON, sys.executable, ".".join(map(str, version))
            )
        )


def check_machine(venv: Path) -> None:
    try:
        import ensurepip  # noqa: F401 - Debian splits it off, so that its absence must be caught
    except ImportError:
        raise CannotInstall(
            "{} cannot make virtual environments: install its venv package (on Debian and Ubuntu "
            "`apt-get install python3-venv`), or name another Python with PYTHON=.".format(sys.executable)
        ) from None
    folder = str(venv.parent)
    if venv.is_symlink():
        raise CannotInstall(
            "{} is a link to {}, which belongs to somebody else and would be emptied: remove the link.".format(
                venv, os.path.realpath(str(venv))
            )
        )
    if not os.access(folder, os.W_OK):
        raise CannotInstall("The folder {} cannot be written to, and .venv belongs there.".format(folder))
    free = shutil.disk_usage(folder).free
    if free < BYTES_NEEDED:
        raise CannotInstall(
            "The disk of {} has {:.1f} GB free, and .venv needs {:.1f} GB.".format(
                folder, free / 1e9, BYTES_NEEDED / 1e9
            )
        )


def is_installed() -> bool:
    return STAMP.exists() and STAMP.read_text() == wanted_stamp()


def wanted_stamp() -> str:
    """All that makes another installation necessary: the Python, the place, the lock."""
    return foundation() + hashlib.sha256(LOCK.read_bytes()).hexdigest()


def foundation() -> str:
    """What a virtual environment is built on. It cannot be moved, nor change its Python."""
    return "{} {}\n".format(".".join(map(str, sys.version_info[:3])), VENV)


def install() -> None:
    started_at = time.monotonic()
    if not (STAMP.exists() and STAMP.read_text().startswith(foundation())):
        say("Making .venv with Python {}.{}.{}".format(*sys.version_info[:3]))
        run([sys.executable, "-m", "venv", "--clear", str(VENV)])
    say("Installing the locked packages into .venv (about 250 MB to download the first time)")
    install_uv()
    settings = uv_settings(dict(PIP_SETTINGS_FOR_UV, **PIP_SETTINGS_FOR_INSTALLING))
    # As pip does, take the best file from all places; the hashes say that it is the right one.
    settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    run_uv(["pip", "sync", "--require-hashes", "--python", venv_program("python"), str(LOCK)], settings)
    STAMP.write_text(wanted_stamp())
    say("Installed in {:.0f} s".format(time.monotonic() - started_at))


def install_uv() -> None:
    """pip installs uv, held to the hashes of the same lock; uv is far quicker with the rest."""
    uv_lock = VENV / "uv.lock"
    uv_lock.write_text(locked_entry("uv", LOCK.read_text()))
    run(pip(["install", "--quiet", "--require-hashes", "--requirement", str(uv_lock)]))


def locked_entry(package: str, lock: str) -> str:
    """The package's line in a lock file, with the hashes that belong to it."""
    found = re.search(r"^{}==.*(\n    --hash.*)*".format(re.escape(package)), lock, re.MULTILINE)
    if found is None:
        raise CannotInstall("{} does not name {}: run `make lock`.".format(LOCK, package))
    return found.group()


def write_locks() -> None:
    """Pin what the two `.in` files ask for, for every platform and every Python from the oldest on."""
    compile_lock = ["pip", "compile", "--universal", "--generate-hashes", "--upgrade", "--quiet"]
    compile_lock += ["--python-version", "{}.{}".format(*OLDEST_PYTHON)]
    compile_lock += ["--custom-compile-command", "make lock"]
    settings = uv_settings(PIP_SETTINGS_FOR_UV)
    run_uv(compile_lock + ["requirements.in", "--output-file", "requirements.lock"], settings)
    compile_lock += ["--constraint", "requirements.lock"]  # what is developed with is what production runs on
    run_uv(compile_lock + ["requirements-dev.in", "--output-file", "requirements-dev.lock"], settings)


def uv_settings(pip_names: "dict[str, str]") -> "dict[str, str]":
    """pip's configuration in uv's words: uv does not read it, and a machine behind a mirror often has no other."""
    configured = pip_settings()
    settings = {}
    for pip_name, uv_name in pip_names.items():
        if pip_name in configured:
            separator = "," if pip_name == "find-links" else " "
            settings[uv_name] = separator.join(configured[pip_name].split())
    return settings


def run_uv(arguments: "list[str]", settings: "dict[str, str]") -> None:
    """Run uv with these settings, unless the environment says otherwise."""
    run([venv_program("uv")] + arguments, dict(settings, **os.environ))


def pip_settings() -> "dict[str, str]":
    """What pip is configured with, its environment variables above its files."""
    listed = subprocess.check_output(pip(["config", "list"]), universal_newlines=True)
    settings = {}  # type: dict[str, str]
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):
        name, value = line.split("=", 1)
        settings[name.split(".", 1)[1]] = ast.literal_eval(value)
    return settings


def pip(arguments: "list[str]") -> "list[str]":
    return [venv_program("python"), "-m", "pip", "--disable-pip-version-check"] + arguments


def venv_program(name: str) -> str:
    return str(VENV / "bin" / name)


def run(command: "list[str]", environment: "dict[str, str] | None" = None) -> None:
    try:
        subprocess.run(command, check=True, cwd=str(ROOT), env=environment)
    except subprocess.CalledProcessError as failure:
        raise CannotInstall(
            "`{}` failed with exit status {}; its own words are above.".format(" ".join(command), failure.returncode)
        ) from None


def say(message: str) -> None:
    print("==> " + message, flush=True)


if __name__ == "__main__":
    sys.exit(main())
