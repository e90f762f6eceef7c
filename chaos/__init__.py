"""The chaos lab: real nodes, real faults, and checkers that say what they cost."""
