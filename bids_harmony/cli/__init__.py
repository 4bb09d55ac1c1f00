"""Words on the command line become one `Settings` record; errors become exit codes."""
