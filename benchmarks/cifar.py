"""The CIFAR-10 networks and images of ACGRAPH_SHARED (or ../shared), as ``compress`` takes them."""

import os
import subprocess
import sys
from pathlib import Path

SHARED = Path(os.environ.get("ACGRAPH_SHARED", Path(__file__).resolve().parents[2] / "shared"))
#: What the networks want of their pixels, as ``--mean`` and ``--std`` take it.
MEAN, STD = "0.485,0.456,0.406", "0.229,0.224,0.225"
PIXELS = ("--mean", MEAN, "--std", STD)


def write_images(folder: Path) -> Path:
    """Write all images to a file in a folder, unless it is there."""
    images = folder / "cifar10.npz"
    if not images.exists():
        loader = SHARED / "data" / "cifar10" / "load.py"
        subprocess.run([sys.executable, str(loader), str(images)], check=True)
    return images


def specs(images: Path) -> tuple[str, str]:
    """Return what ``--data`` and ``--eval-data`` take of that file."""
    return f"{images}#x_train,y_train", f"{images}#x_test,y_test"
