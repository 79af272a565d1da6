"""What an operator does with dead letters."""
