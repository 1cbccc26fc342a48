"""Tasks: one file a question. They see labels, never tensors."""
