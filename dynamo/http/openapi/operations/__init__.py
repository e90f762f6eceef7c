"""What can be done at a path, and what comes of it: a file for each subject."""
