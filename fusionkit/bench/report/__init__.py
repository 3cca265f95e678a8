"""Tables of a bench's records: for a terminal, in Markdown, CSV and JSON, and on one HTML page."""
