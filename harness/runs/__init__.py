"""Planning, running and keeping trials. Imports no framework, ever."""
