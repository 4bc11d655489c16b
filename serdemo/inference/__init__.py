"""From sound to emotions: predictor, stream, live service."""
