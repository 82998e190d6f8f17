"""What a study at real hospitals needs around it: the kit, what hospitals' people approve, the pre-flight."""
