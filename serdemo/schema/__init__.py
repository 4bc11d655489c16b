"""Words that the whole project shares: types, errors, options, settings, files."""
