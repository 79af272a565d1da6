"""The demo: the template on a stand-in for AWS, real files, and every count checked."""
