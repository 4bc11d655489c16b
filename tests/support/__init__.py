"""What tests share: corpora, servers, commands, small models."""
