"""Raw data sets: readers, download and the registry of known names."""
