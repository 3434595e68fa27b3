"""Tell whether a run that goes on reads what it was started with."""

from acgraph.data.fingerprint import digest_of
from acgraph.driver.inputs.data import RunData
from acgraph.ir import Model
from acgraph.ir.check import fingerprint


def input_fingerprints(original: Model, data: RunData) -> dict[str, str]:
    """Hash the model with its weights, and the data, by what a message calls them."""
    held = (data.select.fingerprint.digest, data.report.fingerprint.digest)
    return {
        "a model": fingerprint(original),
        "training data": data.train.fingerprint.digest,
        "evaluation data": digest_of(*held),
    }


def fingerprint_notes(data: RunData) -> list[str]:
    """Say of which data only a part is compared when the run is resumed, and which part."""
    found = [(part.name, part.fingerprint.note) for part in (data.train, data.select, data.report)]
    return list(dict.fromkeys(f"{name}: {note}" for name, note in found if note))
