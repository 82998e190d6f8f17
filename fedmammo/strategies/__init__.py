"""How the server combines the hospitals' models of a round: one file for each strategy, `registry` lists them."""
