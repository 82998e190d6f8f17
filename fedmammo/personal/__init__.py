"""How a hospital makes a model of its own of the federated one: an algorithm is one file."""
