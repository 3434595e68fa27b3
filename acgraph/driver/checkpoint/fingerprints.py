"""Fingerprints of the inputs of a run, to check that it is resumed with the same ones."""

from acgraph.data.fingerprint import digest_of
from acgraph.driver.inputs.data import RunData
from acgraph.ir import Model
from acgraph.ir.check import fingerprint


def input_fingerprints(original: Model, data: RunData) -> dict[str, str]:
    """Return hashes of the model and of the data, by the names that messages use for them."""
    evaluation = (data.select.fingerprint.digest, data.report.fingerprint.digest)
    return {
        "a model": fingerprint(original),
        "training data": data.train.fingerprint.digest,
        "evaluation data": digest_of(*evaluation),
    }


def fingerprint_notes(data: RunData) -> list[str]:
    """Describe which data is only partly covered by its fingerprint, and which part is."""
    found = [(part.name, part.fingerprint.note) for part in (data.train, data.select, data.report)]
    return list(dict.fromkeys(f"{name}: {note}" for name, note in found if note))
