"""What learning maximises."""
