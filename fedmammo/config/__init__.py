"""What a study, a setting and a deployment may say, checked before anything runs."""
