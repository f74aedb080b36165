"""What lies in a field besides sperm that swim alone."""
