"""What one hospital does with a model and its patients; nothing here knows Flower."""
