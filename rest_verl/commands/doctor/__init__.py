"""`rest-verl doctor`: whether a run of verl with this plugin can start here, and what to do where it cannot."""
