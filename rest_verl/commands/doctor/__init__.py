"""`rest-verl doctor`: whether a verl run with this plugin can start here, and what to do if it cannot."""
