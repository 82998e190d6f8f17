"""The phantom cohort: breasts and masses drawn by rule, written as a tree of mammograms."""
