"""A trained policy outside of its training: in somebody's own loop, or recorded step by step."""
