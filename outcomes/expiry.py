"""Open trades whose option has expired: nobody reported their exit, so an operator is asked."""

from django.db import connection

from orchestrator.domain.vocabulary import IncidentKind
from orchestrator.incidents import open_incident


def report_expired_trades(*, limit: int = 100) -> int:
    """Open an incident for every open trade past its expiration that has none yet; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT kind, trade_id, experiment_id, engine, expiration
              FROM (SELECT 'real' AS kind, trade_id, experiment_id, engine, status,
                           terms #>> '{instrument,expiration}' AS expiration FROM real_trades WHERE status = 'OPEN'
                    UNION ALL
                    SELECT 'shadow', trade_id, experiment_id, engine, status,
                           terms #>> '{instrument,expiration}' FROM shadow_trades WHERE status = 'OPEN') AS open
             WHERE expiration < to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD')
               AND NOT EXISTS (SELECT FROM incidents
                                WHERE incidents.kind = %s AND incidents.subject = open.trade_id::text)
             ORDER BY trade_id LIMIT %s
            """,
            [IncidentKind.EXPIRED_OPEN_TRADE, limit],
        )
        rows = cursor.fetchall()
    for kind, trade_id, experiment_id, engine, expiration in rows:
        open_incident(
            IncidentKind.EXPIRED_OPEN_TRADE,
            subject=str(trade_id),
            experiment_id=experiment_id,
            detail={
                "what": f"The {kind} trade of engine {engine} is still open, but its option expired on {expiration}.",
                "trade_id": str(trade_id),
            },
        )
    return len(rows)
