"""Explores every world that can be reached, breadth first, and judges each step; what it finds it tells in words."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from orchestrator.domain.vocabulary import PermitState
from tests.model.judgement import STUCK, broken, is_settled_or_seen
from tests.model.protocol import worker_steps
from tests.model.sameness import Key, key_of, unnamed
from tests.model.settings import Setting
from tests.model.states import Actor, Step, World
from tests.model.surroundings import surrounding_steps

# what the system does without engines and without people
BY_ITSELF = (Actor.WORKER, Actor.TIME)
MOST_WORLDS = 400_000


class TooLarge(Exception):
    """The exploration did not end within its bound; nothing is proven then."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken property with the shortest way to it."""

    property: str
    trace: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{number:3}. {words}" for number, words in enumerate(self.trace, 1)]
        return "\n".join([f"{self.property}:", *lines])


@dataclass(slots=True)
class Explored:
    """Counts, what was found, which permit moves were made, and ``ends``: what can be seen from outside of each world."""

    setting: Setting
    worlds: int = 0
    steps: int = 0
    depth: int = 0
    findings: list[Finding] = field(default_factory=list)
    moves: set[tuple[PermitState, PermitState]] = field(default_factory=set)
    ends: set[tuple[object, ...]] = field(default_factory=set)

    def note(self, world: World, step: Step) -> None:
        """Count a step, with the permit move that it makes."""
        self.steps += 1
        old, after = world.state, step.world
        if old is not None and after.state is not None and old is not after.state:
            self.moves.add((old, after.state))
        self.ends.add(
            (after.state, after.engine.executions, after.engine.refused, after.trades, after.incidents, after.exits)
        )

    def keep(self, name: str, way: Callable[[], tuple[str, ...]]) -> None:
        """Keep the first way to a broken property."""
        if self.of(name) is None:
            self.findings.append(Finding(name, way()))

    def of(self, name: str) -> Finding | None:
        return next((one for one in self.findings if one.property == name), None)


def steps_of(world: World, setting: Setting) -> Iterator[Step]:
    yield from worker_steps(world, setting)
    yield from surrounding_steps(world, setting)


def explore(
    setting: Setting, *, until: str = "", liveness: bool = True, reduced: bool = True, start: World | None = None
) -> Explored:
    """Explore everything from ``start``; of each broken property the first, and so shortest, way to it is kept.

    :param until: ends the exploration when this property is broken.
    :param liveness: also ask of each world whether the system, by itself, still gets to an end or to an operator.
    :param reduced: remember worlds that nothing can tell apart as one.
    :raises TooLarge: when there are more worlds than ``MOST_WORLDS``.
    """
    found = Explored(setting)
    atlas = Atlas(partial(key_of, setting=setting) if reduced else unnamed)
    atlas.number_of(start or World(), by=-1, words="")
    number = 0
    while number < len(atlas.worlds):
        world = atlas.worlds[number]
        atlas.worlds[number] = None  # its number is enough from here on
        assert world is not None
        for step in steps_of(world, setting):
            found.note(world, step)
            for name in broken(world, step, setting):
                found.keep(name, partial(atlas.way_to, number, then=step.words))
            if step.world == world:
                continue
            after = atlas.number_of(step.world, by=number, words=step.words)
            if liveness and step.actor in BY_ITSELF and after != number:
                atlas.before[after].append(number)
        if until and found.of(until):
            break
        if len(atlas.worlds) > MOST_WORLDS:
            raise TooLarge(f"more than {MOST_WORLDS} worlds: {setting}")
        number += 1
    found.worlds, found.depth = len(atlas.worlds), atlas.depths[-1]
    if liveness and (lost := atlas.cannot_reach_a_goal()) is not None:
        found.keep(STUCK, partial(atlas.way_to, lost))
    return found


class Atlas:
    """Every world that was reached, by number in the order of its discovery, with the way to it."""

    def __init__(self, key: Callable[[World], Key]) -> None:
        self.worlds: list[World | None] = []
        self.depths: list[int] = []
        self.before: list[list[int]] = []
        self._key = key
        self._numbers: dict[Key, int] = {}
        self._ways: list[tuple[int, str]] = []
        self._goals: list[bool] = []

    def number_of(self, world: World, *, by: int, words: str) -> int:
        """Return the number of a world; a new one was reached from world ``by``."""
        key = self._key(world)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.worlds)
            self.worlds.append(world)
            self.depths.append(self.depths[by] + 1 if by >= 0 else 0)
            self.before.append([])
            self._ways.append((by, words))
            self._goals.append(is_settled_or_seen(world))
        return number

    def way_to(self, number: int, *, then: str = "") -> tuple[str, ...]:
        """Return what happened on the shortest way to a world, in words, and what happened ``then``."""
        words = [then] if then else []
        while number > 0:
            number, step = self._ways[number]
            words.append(step)
        return tuple(reversed(words))

    def cannot_reach_a_goal(self) -> int | None:
        """Return the first world from which no goal can be reached, walking backwards from all goals at once."""
        reached = list(self._goals)
        todo = [number for number, is_goal in enumerate(reached) if is_goal]
        while todo:
            for number in self.before[todo.pop()]:
                if not reached[number]:
                    reached[number] = True
                    todo.append(number)
        return next((number for number, is_reached in enumerate(reached) if not is_reached), None)
