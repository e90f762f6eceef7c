"""The experiments, a file each; `catalogue.py` lists them."""
