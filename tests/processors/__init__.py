"""The tests on another processor than the one at hand."""
