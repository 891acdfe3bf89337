"""What every counted byte is for."""
