"""``acgraph demo``: run ``compress`` on a network and images that are part of the package."""

from pathlib import Path
from typing import Annotated

import typer

from acgraph.cli.compress_run import run_compress
from acgraph.cli.runtime_options import FormatOption, OutputFormat

#: Specifications of the embedded images, as for ``--data``.
_TRAIN, _EVALUATE = "acgraph.models.demo:train", "acgraph.models.demo:test"
#: With few images and few steps, a high learning rate is better. The objects are centred, so that
#: images are not shifted.
_TRAINING = {"learning_rate": 0.1, "crop": 0}


def demo(
    target_rate: Annotated[
        str,
        typer.Option(
            metavar="RATE",
            help="Compression rate to reach: params before divided by params after, for "
            "example 8x.",
        ),
    ] = "8x",
    time_budget: Annotated[
        str, typer.Option(metavar="TIME", help="Approximate time limit for the whole run.")
    ] = "180s",
    seed: Annotated[int, typer.Option(help="Seed of the random number generators.")] = 0,
    threads: Annotated[
        int | None, typer.Option(help="Number of CPU threads for training and for measuring.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results.")
    ] = Path("acgraph-demo"),
    output_format: FormatOption = OutputFormat.TEXT,
) -> None:
    """Compress a small ResNet for Fashion-MNIST; the network and images are part of the package."""
    from acgraph.config_merge import make_config
    from acgraph.models.demo import model_path

    config = make_config(
        {
            "model": str(model_path()),
            "target_rate": target_rate,
            "max_drop": 1.5,
            "data": _TRAIN,
            "eval_data": _EVALUATE,
            "time_budget": time_budget,
            "train": _TRAINING,
            "search": {"evaluations": 20},
            "seed": seed,
            "threads": threads,
            "output": output,
        }
    )
    run_compress(config, output_format)
