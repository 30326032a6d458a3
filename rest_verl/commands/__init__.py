"""What a person runs next to a training: check, doctor, export, inspect, plot, preview."""
