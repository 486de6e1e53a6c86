"""The gRPC side of the daemon: who asks, whether they may, and the translation to and from protobuf."""
