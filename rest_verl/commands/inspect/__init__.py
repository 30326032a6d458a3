"""The token viewer: record files, or any text, as one HTML page that needs no network."""
