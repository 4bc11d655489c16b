"""Sound: decoding, clips, log-mel features, voice activity, quality, augmentation, microphone."""
