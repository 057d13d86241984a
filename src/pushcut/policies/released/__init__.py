"""Released checkpoints: the folders that others write, read and written back as they are."""
