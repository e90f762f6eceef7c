"""What clients do to find out what a cluster does: one file for each pattern of use."""
