"""What one node keeps on disk: objects, hints, and the engines below them."""
