"""The table of the lane: client by flow."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """How a client fared in a flow."""

    client: str
    flow: str
    fault: str = ""
    """Empty: as expected."""
    remark: str = ""
    refused: bool = False
    """Whether a refusal was expected."""


def print_table(outcomes: Sequence[Outcome]) -> int:
    """Print the outcomes; return the number of those that are not as expected."""
    width, flow = (max((len(text) for text in column), default=0)
                   for column in ([one.client for one in outcomes], [one.flow for one in outcomes]))  # fmt: skip
    print(f"\n{'client':<{width}}  {'flow':<{flow}}  result")
    for one in outcomes:
        result = "FAILED" if one.fault else "passed (refused)" if one.refused else "passed"
        print(f"{one.client:<{width}}  {one.flow:<{flow}}  {result}{'  ' + one.remark if one.remark else ''}")
    failed = [one for one in outcomes if one.fault]
    for one in failed:
        print(f"\nFAILED {one.client}: {one.flow}: {one.fault}")
    print(f"\n{len(outcomes) - len(failed)} passed, {len(failed)} failed")
    return len(failed)
