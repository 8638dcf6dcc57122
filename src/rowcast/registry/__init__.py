"""Models under their names: adding versions, looking at them, moving aliases, deleting."""
