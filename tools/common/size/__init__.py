"""What the engines weigh, at any commit."""
