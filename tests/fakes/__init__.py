"""Stand-ins for services on the network, made from their contracts, for tests, the demo and benchmarks."""
