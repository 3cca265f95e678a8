"""Published fusion networks, written from their description; their authors' weights are imported, none are shipped."""
