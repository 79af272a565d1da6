"""What the commands are called, take and say of themselves; what they do is in the modules that they name."""
