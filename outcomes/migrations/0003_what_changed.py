"""Triggers that note what has changed for the reports, so that nobody who writes has to; and all that was there before."""

from django.db import migrations

# What is noted is only ever added to: no row is locked that another transaction could need.
FORWARD = """
CREATE FUNCTION note_changed_pairs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO changed_pairs (experiment_id) SELECT DISTINCT experiment_id FROM added;
    RETURN NULL;
END $$;
CREATE FUNCTION note_changed_days() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO changed_days (day) SELECT DISTINCT (exit_time AT TIME ZONE 'UTC')::date FROM added;
    RETURN NULL;
END $$;
CREATE FUNCTION note_changed_pair() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO changed_pairs (experiment_id) VALUES (NEW.experiment_id);
    RETURN NULL;
END $$;

CREATE TRIGGER experiments_note_pairs AFTER INSERT ON experiments
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_changed_pairs();
CREATE TRIGGER recommendations_note_pairs AFTER INSERT ON recommendations
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_changed_pairs();
CREATE TRIGGER real_outcomes_note_pairs AFTER INSERT ON real_trade_outcomes
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_changed_pairs();
CREATE TRIGGER real_outcomes_note_days AFTER INSERT ON real_trade_outcomes
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_changed_days();
CREATE TRIGGER shadow_outcomes_note_pairs AFTER INSERT ON shadow_trade_outcomes
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_changed_pairs();
CREATE TRIGGER shadow_outcomes_note_days AFTER INSERT ON shadow_trade_outcomes
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_changed_days();
CREATE TRIGGER calls_note_pair AFTER UPDATE OF state ON engine_calls FOR EACH ROW
    WHEN (NEW.kind = 'RECOMMENDATION' AND OLD.state <> NEW.state AND 'FAILED' IN (OLD.state, NEW.state))
    EXECUTE FUNCTION note_changed_pair();
CREATE TRIGGER shadow_trades_note_pair AFTER UPDATE OF status, own_exit_time ON shadow_trades FOR EACH ROW
    WHEN (OLD.own_exit_time IS DISTINCT FROM NEW.own_exit_time OR (OLD.status <> NEW.status AND NEW.status = 'VOID'))
    EXECUTE FUNCTION note_changed_pair();

INSERT INTO changed_pairs (experiment_id) SELECT experiment_id FROM experiments;
INSERT INTO changed_days (day)
    SELECT (exit_time AT TIME ZONE 'UTC')::date FROM real_trade_outcomes
    UNION SELECT (exit_time AT TIME ZONE 'UTC')::date FROM shadow_trade_outcomes;
"""
BACKWARD = """
DROP TRIGGER shadow_trades_note_pair ON shadow_trades;
DROP TRIGGER calls_note_pair ON engine_calls;
DROP TRIGGER shadow_outcomes_note_days ON shadow_trade_outcomes;
DROP TRIGGER shadow_outcomes_note_pairs ON shadow_trade_outcomes;
DROP TRIGGER real_outcomes_note_days ON real_trade_outcomes;
DROP TRIGGER real_outcomes_note_pairs ON real_trade_outcomes;
DROP TRIGGER recommendations_note_pairs ON recommendations;
DROP TRIGGER experiments_note_pairs ON experiments;
DROP FUNCTION note_changed_pair();
DROP FUNCTION note_changed_days();
DROP FUNCTION note_changed_pairs();
"""


class Migration(migrations.Migration):
    dependencies = [("outcomes", "0002_sums_of_days"), ("orchestrator", "0006_engine_proofs_and_orders_that_may_leave")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
