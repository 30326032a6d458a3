"""What every package here may use: console, logs, figures, names, plain text."""
