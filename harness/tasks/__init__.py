"""What is run: tasks, their data, and the shared start. Names no framework."""
