"""The pass protocol, the pipeline text and the manager that runs and checks passes."""
