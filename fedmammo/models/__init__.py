"""Networks: the classifier of lesions."""
