"""A folder that holds what runs ONNX Runtime for Arm on this machine: an emulator and a Python.

All of it is made of packages, unpacked and not installed, so it needs no rights and changes nothing
outside the folder: the emulator and a Python of this one's version with its libraries from the
Debian packages that apt knows here, and the Arm wheels of this ONNX Runtime and numpy from pip.
"""

import importlib.metadata
import platform
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")
EMULATOR_PACKAGE = "qemu-user-static"
#: The processor that is emulated, a core of phones, and the text by which Linux describes it: ONNX
#: Runtime reads it to choose its kernels, and crashes where it finds an x86 there.
PROCESSOR = "cortex-a76"
CPUINFO = """processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc \
dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0b
CPU revision\t: 1
"""
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
#: What Python and the wheels load.
LIBRARIES = (
    "libc6", "libstdc++6", "libgcc-s1", "libgomp1", "libexpat1", "libffi8", "libbz2-1.0",
    "liblzma5", "libuuid1", "zlib1g", f"lib{PYTHON}-minimal", f"lib{PYTHON}-stdlib",
    f"{PYTHON}-minimal",
)  # fmt: skip
WHEELS = ("onnxruntime", "numpy")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")


class MissingError(Exception):
    """Something that the emulation needs is not here and cannot be had; says what in one line."""


@dataclass(frozen=True, slots=True)
class ArmPython:
    """An Arm Python with ONNX Runtime, and the emulator that runs it.

    Attributes:
        emulator: The program.
        root: Folder with the file system of the emulated machine.
    """

    emulator: Path
    root: Path

    def run(
        self, script: Path, *arguments: str, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a script on the emulated processor."""
        command = [
            str(self.emulator), "-cpu", PROCESSOR, "-L", str(self.root),
            "-E", f"PYTHONPATH={self.root / 'site'}", "-E", "PYTHONHOME=/usr",
            str(self.root / "usr" / "bin" / PYTHON), str(script), *arguments,
        ]  # fmt: skip
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False
        )


def arm_python(folder: Path) -> ArmPython:
    """Return what the folder holds; get what it lacks.

    Raises:
        MissingError: something cannot be had here.
    """
    if platform.machine() in ("aarch64", "arm64"):
        raise MissingError("this machine is an Arm itself; there is nothing to compare with")
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    emulator = _emulator(folder)
    root = folder / "root"
    if not (root / "complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        _fill(root, folder)
        (root / "complete").touch()
    return ArmPython(emulator, root)


def _emulator(folder: Path) -> Path:
    for name in EMULATORS:
        installed = shutil.which(name)
        if installed is not None:
            return Path(installed)
    path = folder / "host" / "usr" / "bin" / EMULATORS[0]
    if not path.exists():
        _need("apt-get", f"no {' or '.join(EMULATORS)} is installed")
        packages = folder / "host-packages"
        packages.mkdir(exist_ok=True)
        _call(["apt-get", "download", EMULATOR_PACKAGE], packages, f"package {EMULATOR_PACKAGE}")
        _unpack_packages(packages, folder / "host")
    return path


def _fill(root: Path, folder: Path) -> None:
    """Make the file system of the emulated machine."""
    _need("apt-get", "no Python for Arm can be had")
    options = _foreign_apt(folder)
    packages = folder / "packages"
    packages.mkdir(exist_ok=True)
    _call(["apt-get", *options, "update"], packages, "lists of Arm packages")
    _call(["apt-get", *options, "download", *LIBRARIES], packages, f"{PYTHON} for Arm from apt")
    _unpack_packages(packages, root)
    wheels = folder / "wheels"
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    wanted = [f"{name}=={importlib.metadata.version(name)}" for name in WHEELS]
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    version = ["--python-version", PYTHON.removeprefix("python"), "--implementation", "cp"]
    _call([*pip, *platforms, *version, "-d", str(wheels), *wanted], folder, "an aarch64 wheel")
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(root / "site")
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text(CPUINFO, encoding="utf-8")


def _foreign_apt(folder: Path) -> list[str]:
    """Options that make apt look at Arm packages, with lists and caches of its own."""
    state = folder / "apt"
    for name in ("state/lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "Dir::State": state / "state",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _unpack_packages(packages: Path, target: Path) -> None:
    _need("dpkg", "packages cannot be unpacked")
    for package in sorted(packages.glob("*.deb")):
        _call(["dpkg", "-x", str(package), str(target)], packages, f"the files of {package.name}")


def _need(program: str, why: str) -> None:
    if shutil.which(program) is None:
        raise MissingError(f"{why}, and there is no {program}")


def _call(command: list[str], folder: Path, what: str) -> None:
    """Run a program; what it says last tells what is missing."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = lines[-1].strip() if lines else f"exit status {done.returncode}"
        raise MissingError(f"{what} cannot be had: {said}")
