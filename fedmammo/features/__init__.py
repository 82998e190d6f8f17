"""The frozen prefix of a network, computed once per image and view."""
