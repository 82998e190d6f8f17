"""A study's course in the tracker that its people use already, while it runs; on this machine alone.

To add one: its file, its class in `course.TRACKERS`, its key in `TrackConfig`.
"""
