"""Programs of the user's own: read into tasks, compared step by step, and why they differ."""
