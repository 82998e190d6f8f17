"""Files and folders that are never half-written, and work spread over processes."""
