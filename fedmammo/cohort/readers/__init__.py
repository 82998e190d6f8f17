"""One file for each kind of source: recognise it, list its images, say what cannot be used."""
