"""What happens inside one measured process."""
