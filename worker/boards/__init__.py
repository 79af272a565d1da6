"""The panels that answer what people ask first: as saved objects for Dashboards, and as a report."""
