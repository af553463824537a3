"""PURE: charts as shapes and words; a template draws them as SVG, without a script, in the colours of the page."""
