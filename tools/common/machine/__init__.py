"""What an engine runs on."""
