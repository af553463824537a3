"""The messages to paste into a TradingView alert, so that the webhook finds what it needs.

All placeholders stand in quotes: unquoted, ``{{interval}}`` works on a chart of 15 minutes and breaks on one of days.
"""

STRATEGY_ALERT = """{
  "ticker": "{{exchange}}:{{ticker}}",
  "action": "{{strategy.order.action}}",
  "market_position": "{{strategy.market_position}}",
  "prev_market_position": "{{strategy.prev_market_position}}",
  "interval": "{{interval}}",
  "time": "{{timenow}}",
  "close": "{{close}}",
  "volume": "{{volume}}"
}"""

INDICATOR_ALERT = """{
  "ticker": "{{exchange}}:{{ticker}}",
  "action": "buy",
  "interval": "{{interval}}",
  "time": "{{timenow}}",
  "close": "{{close}}",
  "volume": "{{volume}}"
}"""
