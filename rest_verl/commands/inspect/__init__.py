"""`rest-verl inspect`: show record files or any text as one HTML page that needs no network."""
