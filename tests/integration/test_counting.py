import pytest, time
from datetime import timedelta
from django.db import connection
from outcomes import reports
from outcomes.counting import count_changes
from tests.integration.test_reports import executed, both_closed, FIRST
pytestmark = pytest.mark.django_db

def test_x():
    executed(real=100, twin=110, shadow=-30, at=FIRST)
    both_closed(None, 5, at=FIRST+timedelta(days=1))
    from django.db import connection
    seen=[]
    def w(execute, sql, params, many, context):
        t=time.perf_counter(); 
        try: return execute(sql, params, many, context)
        finally: seen.append((time.perf_counter()-t, sql))
    for f in (reports.performance, reports.comparison, count_changes, reports.performance, reports.comparison):
        seen.clear()
        with connection.execute_wrapper(w): f()
        print(f.__name__, [round(1000*t) for t,_ in seen])
    with connection.cursor() as c:
        c.execute("explain (analyze) "+seen[0][1] if False else "select 1")
