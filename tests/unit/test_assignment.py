"""The assignment: the published vectors, and what must hold for every signal and every split."""

import subprocess
import sys
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.assignment import assignment_hash, bucket, experiment_id, permit_id, variant
from orchestrator.domain.vocabulary import Engine
from webhooks.canonical import signal_hash
from webhooks.canonical import utc_text as moment_text

THIRD_HASH = "35aea17e98d78d0d2f63a1c93a75da59add6b422ab23a61014d366e39312107c"
VECTORS = [
    (
        "0192f0a0-0000-7000-8000-000000000001",
        "0" * 64,
        "e3a8e2108b9158f818d1b411ae0dc8dd6af0352b5b51f44cf57f338d70f7686b",
        12,
    ),
    (
        "0192f0a0-0000-7000-8000-000000000002",
        "a" * 64,
        "3f7ac6f605480f1b24da54d6e34ba24b84c7220ed3e04eaf919d23f633a5ff7d",
        3,
    ),
    (
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        THIRD_HASH,
        "089f25758c497bfb7edac39aa0f43dc3bd704a6d4e3ee51230ed9fc1cf0ff999",
        43,
    ),
]

hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
percentages = st.integers(min_value=0, max_value=100)


@pytest.mark.requirement("2.2", "property-7")
@pytest.mark.parametrize(("signal_id", "hashed", "assigned", "number"), VECTORS)
def test_the_published_vectors_hold(signal_id: str, hashed: str, assigned: str, number: int) -> None:
    assert assignment_hash(UUID(signal_id), hashed) == assigned
    assert bucket(assigned) == number
    assert variant(assigned, split_percentage=number) is Engine.B
    assert variant(assigned, split_percentage=number + 1) is Engine.A


@pytest.mark.requirement("6.1")
def test_the_published_ids_hold() -> None:
    experiment = experiment_id(UUID(VECTORS[0][0]), VECTORS[0][2])
    assert str(experiment) == "0192f0a0-0000-83a8-a210-8b9158f818d1"
    assert str(permit_id(experiment)) == "0192f0a0-0000-8565-9144-9360733c6773"


def test_the_published_signal_hash_holds() -> None:
    at = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
    assert moment_text(at) == "2026-03-02T14:30:00.000000Z"
    assert (
        signal_hash(
            direction="long",
            payload={"ticker": "SPY", "close": 589.12},
            source="default",
            symbol="SPY",
            timeframe="5",
            timestamp=at,
        )
        == THIRD_HASH
    )


@pytest.mark.requirement("2.2", "property-7")
@given(signal_id=st.uuids(), hashed=hashes)
def test_an_assignment_hash_depends_on_nothing_but_the_two(signal_id: UUID, hashed: str) -> None:
    again = UUID(str(signal_id).upper())
    assert assignment_hash(signal_id, hashed) == assignment_hash(again, hashed)
    assert assignment_hash(signal_id, hashed) == sha256(f"{str(signal_id).lower()}:{hashed}".encode()).hexdigest()


@pytest.mark.requirement("2.2")
@given(signal_id=st.uuids(), other_id=st.uuids(), hashed=hashes, other_hash=hashes)
def test_another_signal_has_another_assignment_hash(
    signal_id: UUID, other_id: UUID, hashed: str, other_hash: str
) -> None:
    same = (signal_id, hashed) == (other_id, other_hash)
    assert (assignment_hash(signal_id, hashed) == assignment_hash(other_id, other_hash)) is same


@pytest.mark.requirement("2.3", "2.5", "property-8")
@given(signal_id=st.uuids(), hashed=hashes, split=percentages)
def test_the_variant_is_the_same_every_time(signal_id: UUID, hashed: str, split: int) -> None:
    assigned = assignment_hash(signal_id, hashed)
    number = int(assigned[:16], 16) % 100
    first, second = (variant(assignment_hash(signal_id, hashed), split_percentage=split) for _ in range(2))
    assert first is second
    assert first is (Engine.A if number < split else Engine.B)


@pytest.mark.requirement("property-8")
@given(assigned=hashes)
def test_a_split_of_0_is_always_b_and_of_100_always_a(assigned: str) -> None:
    assert variant(assigned, split_percentage=0) is Engine.B
    assert variant(assigned, split_percentage=100) is Engine.A


@pytest.mark.requirement("property-8")
@given(assigned=hashes, low=percentages, high=percentages)
def test_raising_the_split_never_moves_a_signal_from_a_to_b(assigned: str, low: int, high: int) -> None:
    low, high = sorted((low, high))
    if variant(assigned, split_percentage=low) is Engine.A:
        assert variant(assigned, split_percentage=high) is Engine.A


@pytest.mark.requirement("property-8")
def test_each_bucket_gets_its_share() -> None:
    counts = [0] * 100
    for number in range(20_000):
        counts[bucket(assignment_hash(UUID(int=number), "0" * 64))] += 1
    assert min(counts) > 130
    assert max(counts) < 270


@pytest.mark.requirement("6.1")
@given(signal_id=st.uuids(), assigned=hashes)
def test_derived_ids_are_uuid8_that_keep_the_time_of_their_source(signal_id: UUID, assigned: str) -> None:
    experiment = experiment_id(signal_id, assigned)
    permit = permit_id(experiment)
    for derived in (experiment, permit):
        assert derived.version == 8
        assert derived.variant == "specified in RFC 4122"
        assert derived.bytes[:6] == signal_id.bytes[:6]
    assert experiment == experiment_id(signal_id, assigned)
    assert experiment != permit


@pytest.mark.requirement("2.5", "6.2")
def test_another_process_with_another_hash_seed_assigns_the_same() -> None:
    program = (
        "from uuid import UUID; from orchestrator.domain.assignment import *;"
        "print([str(variant(assignment_hash(UUID(int=n), 'b' * 64), split_percentage=37)) for n in range(300)])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    expected = [str(variant(assignment_hash(UUID(int=n), "b" * 64), split_percentage=37)) for n in range(300)]
    assert printed == {f"{expected}\n"}
