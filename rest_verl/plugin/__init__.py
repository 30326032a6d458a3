"""Everything that depends on verl's trainers: hooks, checks of a run, registries, the trainer mixin."""
