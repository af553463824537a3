"""The matrix: every fault point, for every set of capabilities that an engine may have, answering at once or later."""
