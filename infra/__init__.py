"""What runs around the worker: its cloud resources, and stand-ins for them on one machine."""
