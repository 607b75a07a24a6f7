"""What the tests need and could not get is named by what is missing in the end."""

import pytest

from tools.servers import Missing, ensure


def test_the_cause_is_what_is_still_missing_after_an_attempt_to_get_it() -> None:
    there: set[str] = set()

    def find() -> str:
        for name in ("java", "jars"):
            if name not in there:
                raise Missing(f"no {name}")
        return "kafka"

    def get() -> bool:
        there.add("java")
        return False  # the jars could not be fetched

    with pytest.raises(Missing, match="no jars"):
        ensure(find, get)
    there.clear()
    with pytest.raises(Missing, match="no java"):
        ensure(find, None)
