"""Few-shot speaker adaptation: adapts the classifier to one speaker by a few labelled clips."""
