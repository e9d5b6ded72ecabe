"""The wire protocols, in which the simulator reads requests and answers them."""
