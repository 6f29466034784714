"""Array-level mathematics that several rooms use."""
