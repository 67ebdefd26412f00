"""What several test modules and scripts share: settings, oracles, games, helpers; one subject per module."""
