"""The fault sweep: spoils each call of each scenario in each way, repeats until nothing is left to do, and checks.

The calls are counted in a run without faults, so that a new call is swept as soon as it is made. `make faults` tries
every point with every kind of fault, and random triples; `make test` tries a sample.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field

from tests.faults.injection import KINDS, Faults
from tests.faults.scenarios import SCENARIOS, Scenario, World, aws_and_platforms, restart

ROUNDS = 40
"""A scenario that is not done after so many rounds without faults never is."""
Plan = Mapping[int, str]


@dataclass
class Result:
    """Outcome of one scenario's runs.

    Attributes
    ----------
    calls
        Names of the calls of a run without faults.
    runs
        Number of runs by kind of fault; three kinds are joined by a plus sign.
    wrong
        What was wrong, with the scenario, the faults and the spoilt calls.
    """

    calls: list[str]
    runs: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def plans(calls: Sequence[str], *, every: int, triples: int, seed: int) -> Iterator[Plan]:
    """List the faults to try: of the single ones a random n-th, `every` n, and random triples."""
    singles = [{number: kind} for number in range(len(calls)) for kind in KINDS]
    dice = random.Random(f"{seed} {len(calls)}")
    # Not the n-th ones: with a factor in common with the number of kinds, some kinds would never be tried.
    yield from dice.sample(singles, len(singles) // every)
    for _ in range(triples):
        # A fault leads to further calls: some strike those.
        yield {number: dice.choice(KINDS) for number in dice.sample(range(len(calls) + 6), 3)}


def sweep(
    scenario: Scenario, fresh: Callable[[Scenario], World], *, every: int = 1, triples: int = 0, seed: int = 0
) -> Result:
    """Run a scenario with each plan of faults."""
    world = fresh(scenario)
    wrong = run(scenario, world, {})
    result = Result(list(world.faults.calls), wrong=[f"{scenario.name}, without a fault: {one}" for one in wrong])
    for plan in plans(result.calls, every=every, triples=triples, seed=seed):
        world = fresh(scenario)
        wrong = run(scenario, world, plan)
        result.runs[" + ".join(plan.values()) if len(plan) == 1 else "three at once"] += 1
        result.wrong += [f"{scenario.name}, {dict(plan)} on {world.faults.struck}: {one}" for one in wrong]
    return result


def run(scenario: Scenario, world: World, plan: Plan) -> list[str]:
    """Run a scenario with faults in its first round; gives what is wrong in the end."""
    with world.faults.striking(plan):
        scenario.round(world)
    if world.faults.is_dead:
        world.notes["crashed"], world.faults.is_dead = True, False
        restart()
    for _ in range(ROUNDS):
        if scenario.is_done(world):
            return scenario.check(world)
        scenario.round(world)
    return ["it never ends"]


def table(results: Mapping[str, Result], seconds: float) -> str:
    """Write the results as a table: points, kinds and outcomes."""
    width = max(map(len, results))
    lines = [f"{'scenario':{width}}  calls  runs  wrong"]
    for name, result in results.items():
        lines.append(f"{name:{width}}  {len(result.calls):5}  {result.runs.total():4}  {len(result.wrong):5}")
    kinds = sum((result.runs for result in results.values()), Counter[str]())
    lines += ["", "runs by kind of fault:", *(f"  {kind:20} {count:6}" for kind, count in kinds.most_common())]
    lines += ["", *(one for result in results.values() for one in result.wrong)]
    total = sum(result.runs.total() for result in results.values())
    wrong = sum(len(result.wrong) for result in results.values())
    return "\n".join([*lines, f"{total} runs in {seconds:.0f} s: {wrong or 'nothing'} wrong"])


def main() -> None:
    """Sweep all scenarios, or those that are named, and print the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("scenario", nargs="*", help="names of scenarios; all without")
    parser.add_argument("--every", type=int, default=1, help="try one of n single faults")
    parser.add_argument("--triples", type=int, default=30, help="random triples of each scenario")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    os.environ["POWERTOOLS_METRICS_DISABLED"] = "true"
    began = time.monotonic()
    with redirect_stdout(io.StringIO()), aws_and_platforms(Faults()) as fresh:  # metrics are lines of the output
        results = {
            scenario.name: sweep(scenario, fresh, every=arguments.every, triples=arguments.triples, seed=arguments.seed)
            for scenario in SCENARIOS
            if not arguments.scenario or scenario.name in arguments.scenario
        }
    sys.stdout.write(table(results, time.monotonic() - began) + "\n")
    sys.exit(any(result.wrong for result in results.values()))


if __name__ == "__main__":
    main()
