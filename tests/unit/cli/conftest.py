"""The command line, called as a function."""

import pytest

from acgraph.cli.main import run


@pytest.fixture
def acgraph(capfd):
    def call(*words: object, code: int = 0) -> tuple[str, str]:
        found = run([str(word) for word in words])
        out, err = capfd.readouterr()
        assert found == code, err
        return out, err

    return call
