"""Executions on their way: from an armed permit to the request, and from an unsettled one to the question about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from orchestrator.domain.moments import moment_string
from orchestrator.domain.recommendation import execution_body
from orchestrator.engines.protocol import Operation, Request
from orchestrator.models import ExecutionPermit, ExecutionPolicy, Recommendation
from webhooks.canonical import canonical


@dataclass(frozen=True, slots=True)
class ExecutionToSend:
    """One request about one permit: an order, the same order again to an engine that deduplicates, or a question."""

    permit: ExecutionPermit
    request: Request
    signal_id: str
    is_query: bool = False
    is_resend: bool = False


def executions_for(permits: Sequence[ExecutionPermit]) -> list[ExecutionToSend]:
    """Return what to send for permits that were just armed, or claimed to be asked about; a fixed number of queries."""
    if not permits:
        return []
    ids = [permit.experiment_id for permit in permits]
    answers = {
        (answer.experiment_id, answer.engine): answer.raw
        for answer in Recommendation.objects.filter(experiment_id__in=ids)
    }
    policies = {
        policy.experiment_id: policy
        for policy in ExecutionPolicy.objects.filter(experiment_id__in=ids).select_related("experiment")
    }
    return [_to_send(permit, answers, policies[permit.experiment_id]) for permit in permits]


def _to_send(permit: ExecutionPermit, answers: dict[tuple[UUID, str], str], policy: ExecutionPolicy) -> ExecutionToSend:
    resend = getattr(permit, "resend", None)  # a column of the claim of unsettled permits
    is_query = resend is False
    if is_query:
        request = Request(Operation.EXECUTION, permit.permit_id)
    else:
        raw = answers[permit.experiment_id, permit.engine]
        request = Request(Operation.EXECUTE, permit.permit_id, execution_body(raw, envelope=_envelope(permit, policy)))
    return ExecutionToSend(
        permit, request, str(policy.experiment.signal_id), is_query=is_query, is_resend=resend is True
    )


def _envelope(permit: ExecutionPermit, policy: ExecutionPolicy) -> str:
    return canonical(
        {
            "permit_id": str(permit.permit_id),
            "experiment_id": str(permit.experiment_id),
            "not_after": moment_string(permit.not_after),
            "app_mode": policy.inputs["revision"]["app_mode"],
        }
    )
