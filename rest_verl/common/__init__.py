"""What every room may use: console, logs, figures, names, plain text."""
