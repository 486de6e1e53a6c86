"""The wire contract, generated from proto/stockade/v1: do not edit."""
