"""The proof of sameness: every tensor at every step against the float64 reference."""
