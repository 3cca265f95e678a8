"""A page to fuse with in a browser: a local server, its temporary files, and its static page."""
