"""From files to patients with lesions: readers of image sources and the prepared cohort on disk."""
