"""The life of a training run: request, folder, job queue, report, registry."""
