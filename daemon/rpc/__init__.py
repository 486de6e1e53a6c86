"""The gRPC side of the daemon: who asks, whether they may, and the way to and from protobuf."""
