"""From records to rows: pure functions that read no clock, no file and no process."""
