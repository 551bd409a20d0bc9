"""From a request to a result: train what is missing, measure, keep, verify."""
