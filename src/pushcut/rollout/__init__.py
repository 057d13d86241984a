"""Playing episodes: which comes next, many at a time, packed."""
