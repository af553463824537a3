import pytest
from datetime import timedelta
from django.db import connection
from outcomes.counting import count_changes
from tests.integration.test_reports import executed, both_closed, FIRST
pytestmark = pytest.mark.django_db

def test_x():
    executed(real=100, twin=110, shadow=-30, at=FIRST)
    both_closed(None, 5, at=FIRST+timedelta(days=1))
    print(count_changes())
    with connection.cursor() as c:
        for t in ("report_slices","daily_trades","pairs","daily_pairs","daily_experiments"):
            c.execute(f"select * from {t}")
            print(t)
            for r in c.fetchall(): print("   ", [str(x)[:12] for x in r])
