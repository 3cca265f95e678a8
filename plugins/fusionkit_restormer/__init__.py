"""Networks and losses shared by the shipped methods that are built of Restormer blocks; registers nothing."""
