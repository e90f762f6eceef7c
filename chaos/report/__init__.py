"""What a run taught: a page, a verdict on the terminal, pictures, and files for programs."""
