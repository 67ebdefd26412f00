"""Whether everything works: seven parts of the networks, and training by each variant."""
