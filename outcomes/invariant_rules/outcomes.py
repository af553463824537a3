"""Closed trades have one outcome that recomputes; followers leave with their lead; sums are sums."""

from outcomes.invariant_rules.sql import ALL_TRADES, Rule

OUTCOMES = (
    Rule(
        "every closed trade has exactly one outcome, and no other trade has one",
        f"""
        SELECT kind, trade_id, experiment_id, status, outcome_id, outcomes
          FROM (SELECT *, count(outcome_id) OVER (PARTITION BY kind, trade_id) AS outcomes FROM {ALL_TRADES} AS closed)
               AS counted
         WHERE outcomes <> CASE WHEN status = 'CLOSED' THEN 1 ELSE 0 END OR status IS NULL
        """,
    ),
    Rule(
        "an outcome is its trade's, and its P&L recomputes",
        f"""
        SELECT kind, outcome_id, trade_id, experiment_id, pnl,
               round((exit_price - entry_price) * quantity * multiplier * CASE WHEN side = 'BUY' THEN 1 ELSE -1 END
                     - fees, 8) AS recomputed
          FROM {ALL_TRADES} AS closed
         WHERE outcome_id IS NOT NULL
           AND ((outcome_experiment_id, outcome_engine, outcome_entry_price, outcome_quantity, outcome_entry_time)
                IS DISTINCT FROM (experiment_id, engine, entry_price, quantity, entry_time)
                OR side IS DISTINCT FROM terms ->> 'side'
                OR multiplier IS DISTINCT FROM
                   round(COALESCE(terms #>> '{{instrument,multiplier}}', '1')::numeric, 8)
                OR exit_time < outcome_entry_time
                OR (kind = 'shadow' AND fees <> 0)
                OR pnl IS DISTINCT FROM
                   round((exit_price - outcome_entry_price) * outcome_quantity * multiplier
                         * CASE WHEN side = 'BUY' THEN 1 ELSE -1 END - fees, 8))
        """,
    ),
    Rule(
        "every closed experiment has the record of its lead's exit, equal to the lead's outcome",
        f"""
        SELECT closed.experiment_id, closed.kind, closed.trade_id, sync.id AS exit_sync_id, sync.lead_trade_id
          FROM {ALL_TRADES} AS closed
          LEFT JOIN exit_syncs AS sync ON sync.experiment_id = closed.experiment_id
         WHERE closed.status = 'CLOSED' AND closed.authorised IS NOT FALSE
           AND (sync.id IS NULL
                OR (closed.trade_id = sync.lead_trade_id
                    AND (closed.engine, closed.kind = 'real', closed.exit_price, closed.exit_time, closed.exit_reason,
                         closed.market_conditions)
                        IS DISTINCT FROM (sync.lead_engine, sync.lead_is_real, sync.exit_price, sync.exit_time,
                                          sync.exit_reason, sync.market_conditions)))
        UNION ALL
        SELECT sync.experiment_id, NULL, lead.trade_id, sync.id, sync.lead_trade_id
          FROM exit_syncs AS sync
          LEFT JOIN {ALL_TRADES} AS lead
            ON lead.trade_id = sync.lead_trade_id AND lead.experiment_id = sync.experiment_id
         WHERE lead.status IS DISTINCT FROM 'CLOSED'
        """,
    ),
    Rule(
        "the real trade leads where there is one",
        """
        SELECT sync.experiment_id, sync.lead_trade_id, sync.lead_is_real, trade.trade_id AS real_trade_id
          FROM exit_syncs AS sync JOIN real_trades AS trade ON trade.experiment_id = sync.experiment_id AND authorised
         WHERE sync.lead_trade_id <> trade.trade_id
        """,
    ),
    Rule(
        "a closed follower left with its lead: same time, same market conditions",
        """
        SELECT outcome.experiment_id, outcome.trade_id, outcome.engine, outcome.exit_time, sync.exit_time AS lead_exit_time
          FROM shadow_trade_outcomes AS outcome JOIN exit_syncs AS sync USING (experiment_id)
         WHERE outcome.trade_id <> sync.lead_trade_id
           AND (outcome.exit_time <> sync.exit_time OR outcome.market_conditions <> sync.market_conditions
                OR outcome.exit_reason <> sync.exit_reason)
        """,
    ),
    Rule(
        # one whose entry was recorded after its lead had left is settled by the next sweep
        "a follower of a closed lead is closed, void, or waits for a price",
        """
        SELECT trade.experiment_id, trade.trade_id, trade.engine, sync.state, sync.exit_time AS lead_exit_time
          FROM shadow_trades AS trade JOIN exit_syncs AS sync USING (experiment_id)
         WHERE trade.status = 'OPEN' AND sync.state NOT IN ('PENDING', 'BLOCKED')
           AND (trade.created_at <= sync.created_at
                OR trade.created_at + make_interval(secs => %(grace)s) < now())
        """,
    ),
    Rule(
        "an exit that waits for a price has an open follower, and BLOCKED means that an operator was asked",
        """
        SELECT sync.experiment_id, sync.id AS exit_sync_id, sync.state, trade.trade_id
          FROM exit_syncs AS sync
          LEFT JOIN shadow_trades AS trade ON trade.experiment_id = sync.experiment_id AND trade.status = 'OPEN'
         WHERE sync.state IN ('PENDING', 'BLOCKED')
           AND (trade.trade_id IS NULL
                OR (sync.state = 'BLOCKED'
                    AND NOT EXISTS (SELECT FROM incidents WHERE kind = 'MISSING_EXIT_PRICE' AND resolved_at IS NULL
                                       AND incidents.experiment_id = sync.experiment_id)))
        """,
    ),
    Rule(
        "a VOID follower would have been entered after its lead had left",
        """
        SELECT trade.experiment_id, trade.trade_id, trade.engine, trade.entry_time, sync.exit_time AS lead_exit_time
          FROM shadow_trades AS trade LEFT JOIN exit_syncs AS sync USING (experiment_id)
         WHERE trade.status = 'VOID' AND (sync.id IS NULL OR trade.entry_time <= sync.exit_time)
        """,
    ),
    Rule(
        "the daily sums are the sums of the outcomes",
        """
        SELECT engine, kind, day, kept.trades, kept.wins, kept.losses, kept.total_pnl,
               summed.trades AS recomputed_trades, summed.total_pnl AS recomputed_pnl
          FROM daily_results AS kept
          FULL JOIN (SELECT engine, kind, (exit_time AT TIME ZONE 'UTC')::date AS day, count(*) AS trades,
                            count(*) FILTER (WHERE pnl > 0) AS wins, count(*) FILTER (WHERE pnl < 0) AS losses,
                            sum(pnl) AS total_pnl
                       FROM (SELECT engine, 'real' AS kind, exit_time, pnl FROM real_trade_outcomes
                             UNION ALL
                             SELECT outcome.engine, lower(trade.purpose), outcome.exit_time, outcome.pnl
                               FROM shadow_trade_outcomes AS outcome JOIN shadow_trades AS trade USING (trade_id))
                            AS closed
                      GROUP BY engine, kind, day) AS summed USING (engine, kind, day)
         WHERE (kept.trades, kept.wins, kept.losses, kept.total_pnl)
               IS DISTINCT FROM (summed.trades, summed.wins, summed.losses, summed.total_pnl)
        """,
    ),
)
