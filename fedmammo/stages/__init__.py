"""The steps of a study, one file each with both halves: what a hospital does, what the server makes of the answers."""
