"""Break-even point: gradient covariance against learning rate and batch size."""
