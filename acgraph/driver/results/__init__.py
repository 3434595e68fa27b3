"""The output folder of a run, its report and metadata."""
