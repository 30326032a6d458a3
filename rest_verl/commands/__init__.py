"""Commands to run before, during and after a training: check, doctor, export, inspect, plot, preview."""
