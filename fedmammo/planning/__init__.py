"""What a planner learns before anything is trained: how sure a study can be, what it costs; no score is looked at."""
