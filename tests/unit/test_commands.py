"""Options of the command line that do not need a server."""

import pytest
from click.testing import CliRunner

from app.__main__ import cli


@pytest.mark.parametrize("option", ["--repair", "--mend"])
def test_recount_knows_its_option_by_both_names(option: str) -> None:
    result = CliRunner().invoke(cli, ["recount", option])
    assert "name a poll, or give --all" in result.output
    assert result.exit_code == 2
