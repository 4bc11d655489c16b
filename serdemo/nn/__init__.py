"""Networks: encoders, pooling, losses, checkpoints."""
