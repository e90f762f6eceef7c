"""What should be measured, worked out beforehand from the ring and from the links' delays."""
