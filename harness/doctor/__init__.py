"""Is this machine fit to measure on? Facts are read, then judged by pure functions."""
