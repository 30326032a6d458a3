"""Parts of the studies behind docs/trust.md and docs/scaling.md."""
