"""A run: its folder, its place in the queue, its process, what it tells, and what it costs."""
