"""The two engines of the first run: small, honest and deterministic; programs of their own behind the wire contract.

What they are: A follows a few written-down rules and answers by event; B lets four simple agents vote and answers at
once. Both know only what the contract gives them: the alert's own bytes and the alerts of the same symbol that passed
through them before. They pick a listed-style option contract, price it with Black-Scholes, keep a durable ledger, fill
on paper and follow their trades until stop, target or time.

What they are not: no edge, no market data, no broker, no advice. Their fills are arithmetic, so they refuse to execute
when app_mode is LIVE. docs/reference-engines.md tells the rest.

Nothing here reads the orchestrator's models or its database.
"""
