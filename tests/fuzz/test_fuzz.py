"""The promise under fire: whatever arrives, nothing crashes, nothing hangs, and every record is accounted for.

`make fuzz` runs a million cases. These are the first 20,000 of one seed, in parts.
"""

from __future__ import annotations

import pytest

from tests.fuzz.checks import make_fuzzer

_PARTS, _CASES = 10, 2_000


@pytest.mark.parametrize("part", range(_PARTS))
def test_every_record_of_a_changed_input_is_accounted_for(part: int) -> None:
    """A failing case is run again by `python -m tests.fuzz --seed 22 --first NUMBER --cases 1`."""
    with make_fuzzer(seed=22) as fuzzer:
        for number in range(part * _CASES, (part + 1) * _CASES):
            try:
                fuzzer.run(number)
            except AssertionError as failure:
                pytest.fail(f"case {number}: {failure}")
