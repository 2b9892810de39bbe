"""Text in, one call, text out: the command line of embconv."""
