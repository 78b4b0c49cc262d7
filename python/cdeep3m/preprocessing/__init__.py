"""What happens to images before nets see them."""
