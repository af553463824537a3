"""``manage.py simulate_policy POLICY …``: what would we have earned under another policy?"""

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from config.problems import Refused
from outcomes.domain.policy_rules import ACCEPTED as POLICY_ACCEPTED
from outcomes.filters import ACCEPTED, NAMES, read_filters
from outcomes.policy_reading import read_policies
from outcomes.policy_report import policy_report


class Command(BaseCommand):
    help = (
        "Tries policies that were not in force on the record of experiments, each paired against what ran. Where several are "
        "given, the best on the earlier half of the days is judged on the later half."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("policies", nargs="+", metavar="POLICY", help=POLICY_ACCEPTED.replace("%", "%%"))
        for name in NAMES:
            parser.add_argument(f"--{name}", help=ACCEPTED[name].replace("%", "%%"))
        parser.add_argument("--json", action="store_true", help="print what /api/v1/reports/policy/ answers")

    def handle(self, *args: Any, **options: Any) -> None:
        given = {name: [options[name]] for name in NAMES if options[name] is not None}
        try:
            report = policy_report(read_policies(options["policies"]), read_filters(given))
        except Refused as error:
            raise CommandError(
                " ".join(f"{fault.field} is {fault.found}; accepted is {fault.accepted}" for fault in error.faults)
            ) from None
        except DatabaseError as error:
            raise CommandError(f"The database cannot be read: {error}") from None
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=2))
        else:
            self._tell(report)

    def _tell(self, report: Mapping[str, Any]) -> None:
        record = report["record"]
        self.stdout.write(
            f"{record['experiments']} experiments on {record['days']} days, of which {record['without_r']} without capital at "
            f"risk; {record['not_complete']} more are not complete and not in it."
        )
        if record["cut"]:
            self.stdout.write(record["cut"])
        for found in report["policies"]:
            plug_in, robust = found["plug_in"], found["doubly_robust"]
            self.stdout.write(f"\n{found['sentence']}")
            self.stdout.write(
                f"  simulated: {plug_in['would_have_earned']} against {plug_in['ran_simulated']} of what ran; "
                f"difference per signal {_interval(plug_in['difference']['currency'])}"
            )
            self.stdout.write(
                f"  doubly robust, with real results: {_interval(robust['difference']['R'])} R per signal, from "
                f"{robust['experiments']} experiments worth {robust['effective_experiments']:.0f}; the record cannot say for "
                f"{robust['left_out']}"
            )
            own = found["own_exits"]
            self.stdout.write(
                f"  at each engine's own exit: {_interval(own['difference']['R'])} R per signal, from {own['experiments']}"
            )
        if report["held_out"]:
            self.stdout.write(f"\n{report['held_out']['sentence']}")
        self.stdout.write("")
        for caveat in report["caveats"].values():
            self.stdout.write(f"- {caveat}")


def _interval(found: Mapping[str, Any]) -> str:
    if found["mean"] is None:
        return "undefined"
    mean = f"{float(found['mean']):+.3g}"
    if found["interval"] is None:
        return f"{mean} (no interval: {found['reason']})"
    low, high = found["interval"]
    return f"{mean} ({float(low):+.3g} to {float(high):+.3g})"
