"""Foreign keys over two columns, which models cannot say: a permit is for the policy's engine, a trade for its permit's."""

from django.db import migrations

FORWARD = """
ALTER TABLE execution_permits ADD CONSTRAINT permit_is_for_the_engine_that_the_policy_names
    FOREIGN KEY (experiment_id, engine) REFERENCES execution_policies (experiment_id, executed_engine);
ALTER TABLE real_trades ADD CONSTRAINT trade_is_of_the_experiment_and_engine_of_its_permit
    FOREIGN KEY (permit_id, experiment_id, engine)
    REFERENCES execution_permits (permit_id, experiment_id, engine);
"""
BACKWARD = """
ALTER TABLE real_trades DROP CONSTRAINT trade_is_of_the_experiment_and_engine_of_its_permit;
ALTER TABLE execution_permits DROP CONSTRAINT permit_is_for_the_engine_that_the_policy_names;
"""


class Migration(migrations.Migration):
    dependencies = [("orchestrator", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
